"""What a host runs at first boot: draining, the unit that forwards the Spot notice, the fence around containers.

**Draining.** Without `ECS_ENABLE_SPOT_INSTANCE_DRAINING` ECS keeps placing jobs on a host under notice (ECS developer
guide, "Container instance draining"; the agent's default is false). AWS Batch appends its own lines to the agent's file
(aws/aws-cdk #9900 shows them), before or after ours.

**The fence.** AWS Batch runs single-container jobs in the host's network (user guide, "Networking modes"), where a
hop limit of 1 blocks nobody from the metadata service. The ECS agent puts every task below `ecstasks.slice` (its
`buildCgroupV2Root`), so that slice is denied access; the agent itself, and our notice unit, are outside it.
If the kernel cannot filter, systemd does not report it (systemd.resource-control, "IPAddressAllow="): hence the test.
"""

from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Final, Literal

HOST_FOLDER: Final = Path(__file__).parent / "host"
NOTICE_FOLDER: Final = "/run/spotbatch"
TASKS_SLICE: Final = "ecstasks.slice"
NOTICE_FILE: Final = f"{NOTICE_FOLDER}/notice.json"
DRAINING: Final = "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true"
Fence = Literal["required", "tried"]
_BOUNDARY: Final = "==SPOTBATCH=="  # fixed, so that the same settings give the same template
_UNITS: Final = "/etc/systemd/system"
_FENCE_SETTING: Final = f"{_UNITS}/spotbatch-fence.service.d/fence.conf"
_FILES: Final = (  # our file, its target path, its mode
    (TASKS_SLICE, f"{_UNITS}/{TASKS_SLICE}", "0644"),
    ("metadata-fence.sh", "/usr/local/bin/spotbatch-fence", "0755"),
    ("metadata-fence.service", f"{_UNITS}/spotbatch-fence.service", "0644"),
    ("metadata-fence-probe.service", f"{_UNITS}/spotbatch-fence-probe.service", "0644"),
    ("spot-notice.sh", "/usr/local/bin/spotbatch-notice", "0755"),
    ("spot-notice.service", f"{_UNITS}/spotbatch-notice.service", "0644"),
)


def boot_script(fence: Fence = "required") -> str:
    """A shell script for the first boot; cloud-init runs it before the ECS agent starts, which waits for cloud-init.

    `fence`: whether the agent may start only if the fence has been verified, or in any case.
    """
    parts = [
        "#!/bin/sh\nset -eu\n",
        f"mkdir -p {NOTICE_FOLDER} /etc/ecs {_UNITS}/spotbatch-fence.service.d\n",
        f"printf '\\n%s\\n' {DRAINING} >> /etc/ecs/ecs.config\n",
        *(_written(name, target, mode) for name, target, mode in _FILES),
        f"cat > {_FENCE_SETTING} <<'END_OF_FILE'\n[Service]\nEnvironment=SPOTBATCH_FENCE={fence}\nEND_OF_FILE\n",
        "systemctl daemon-reload\n",
        # Not awaited: the agent itself waits for these, and a hanging unit would hang the boot here.
        "systemctl enable --now --no-block spotbatch-fence.service spotbatch-notice.service\n",
    ]
    return "".join(parts)


def _written(name: str, target: str, mode: str) -> str:
    """The shell commands that write one of our files."""
    text = (HOST_FOLDER / name).read_text(encoding="utf-8")
    return f"cat > {target} <<'END_OF_FILE'\n{text}END_OF_FILE\nchmod {mode} {target}\n"


def user_data(fence: Fence = "required") -> str:
    """User data in MIME parts: AWS Batch adds a part of its own and accepts no other format."""
    message = MIMEMultipart(boundary=_BOUNDARY)
    part = MIMEText(boot_script(fence), "x-shellscript", "us-ascii")
    message.attach(part)
    return message.as_string()
