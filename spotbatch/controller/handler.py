"""The controller as a Lambda function: invoked every minute by a schedule, and by the events of jobs that FAILED.

The schedule is on only while a run is under control: `submit` turns it on, and the function turns it off again. So
it costs nothing while nothing runs.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.batch.environment import SPOTBATCH_RUN_ID
from spotbatch.batch.errors import SpotbatchError
from spotbatch.controller.advance import Controller
from spotbatch.controller.edges import BatchJobs, StoredRecords
from spotbatch.controller.ports import Conflict
from spotbatch.controller.resources import SCHEDULE_VARIABLE, TABLE_VARIABLE
from spotbatch.controller.table import Table

_AT_ONCE: Final = 8  # runs
SETTLE_SECONDS: Final = 2.0  # the table's index lags behind a write, usually by less than a second


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """One invocation by EventBridge. Failures are logged, and retried at the next tick."""
    controller = Controller(store=Table(name=os.environ[TABLE_VARIABLE]), batch=BatchJobs(), records=StoredRecords())
    if event.get("source") == "aws.batch":
        run_id = run_id_of(event)
        if run_id:
            try:
                controller.heard(run_id, time.time())
            except Conflict:
                pass  # another invocation is working on it
            except SpotbatchError as error:
                _log({"run": run_id, "trouble": str(error)})
        return {"run": run_id}
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        troubles = controller.tick(time.time(), threads.map)
    for each in troubles:
        _log({"trouble": each})
    runs = len(controller.store.active())
    if not runs:
        _rest(controller)
    return {"runs": runs, "troubles": len(troubles)}


def run_id_of(event: Mapping[str, Any]) -> str:
    """The run of a Batch Job State Change, whose detail is a JobDetail (AWS Batch user guide, "EventBridge events")."""
    try:
        variables = event["detail"]["container"]["environment"]
        return str(next(each["value"] for each in variables if each["name"] == SPOTBATCH_RUN_ID))
    except (KeyError, TypeError, StopIteration):
        return ""


def _rest(controller: Controller) -> None:
    """Turn the schedule off, and back on if a run was added at that moment."""
    events = session.client("events")
    name = os.environ[SCHEDULE_VARIABLE]
    events.disable_rule(Name=name)
    time.sleep(SETTLE_SECONDS)
    if controller.store.active():
        events.enable_rule(Name=name)


def _log(line: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
