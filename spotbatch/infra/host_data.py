"""What a host runs at its first boot: the unit that hands the Spot notice on, and the fence around the containers.

AWS Batch runs jobs of one container in the host's own network (user guide, "Networking modes"), where a hop limit of 1
keeps nobody from the metadata service. The ECS agent puts every task below `ecstasks.slice` (its `buildCgroupV2Root`),
so that slice is what may not reach it; the agent itself, and our notice unit, stand outside.
"""

from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Final

HOST_FOLDER: Final = Path(__file__).parent / "host"
NOTICE_FOLDER: Final = "/run/spotbatch"
TASKS_SLICE: Final = "ecstasks.slice"
NOTICE_FILE: Final = f"{NOTICE_FOLDER}/notice.json"
_BOUNDARY: Final = "==SPOTBATCH=="  # fixed, so that the same settings give the same template


def boot_script() -> str:
    """A shell script that fences the containers in, and installs and starts the notice unit."""
    fence = (HOST_FOLDER / TASKS_SLICE).read_text(encoding="utf-8")
    script = (HOST_FOLDER / "spot-notice.sh").read_text(encoding="utf-8")
    unit = (HOST_FOLDER / "spot-notice.service").read_text(encoding="utf-8")
    return (
        "#!/bin/sh\nset -eu\n"
        f"cat > /etc/systemd/system/{TASKS_SLICE} <<'END_OF_SLICE'\n{fence}END_OF_SLICE\n"
        f"cat > /usr/local/bin/spotbatch-notice <<'END_OF_SCRIPT'\n{script}END_OF_SCRIPT\n"
        "chmod 0755 /usr/local/bin/spotbatch-notice\n"
        f"cat > /etc/systemd/system/spotbatch-notice.service <<'END_OF_UNIT'\n{unit}END_OF_UNIT\n"
        f"mkdir -p {NOTICE_FOLDER}\n"
        "systemctl daemon-reload\n"
        "systemctl enable --now --no-block spotbatch-notice.service\n"
    )


def user_data() -> str:
    """User data in MIME parts: AWS Batch adds a part of its own and refuses anything else."""
    message = MIMEMultipart(boundary=_BOUNDARY)
    part = MIMEText(boot_script(), "x-shellscript", "us-ascii")
    message.attach(part)
    return message.as_string()
