"""What a stack creates for the controller: names and figures, for the CDK's construct and the local region.

Constants only, so that whoever creates the resources need not import the controller.
"""

from typing import Final

HANDLER: Final = "spotbatch.controller.handler.handler"
TABLE_VARIABLE: Final = "CONTROLLER_TABLE"
SCHEDULE_VARIABLE: Final = "CONTROLLER_SCHEDULE"
# Less than the time after which a lost submission is looked for: the call that made it has ended by then.
LONGEST_SECONDS: Final = 45
KEY: Final = "run_id"  # the table's
INDEX: Final = "active"  # the name of its index, and of the attribute that only runs in progress have
EXPIRY: Final = "expires_at"
SCHEDULE: Final = "rate(1 minute)"
