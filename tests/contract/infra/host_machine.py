"""A host for tests: this machine's systemd as process 1 of namespaces of its own.

Changes to its root are thrown away. It has a cgroup tree (version 2), a network, an /etc and a /tmp of its own; the
metadata service and the ECS agent's credentials address stand on its loopback. What it writes outside the shared folder
goes into memory and is lost. Needs root, overlayfs, cgroup version 2 and cgroup BPF: `why_not()` says what is missing.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

SYSTEMD: Final = Path("/usr/lib/systemd/systemd")
METADATA: Final = "169.254.169.254"
CREDENTIALS: Final = "169.254.170.2"
DEADLINE_SECONDS: Final = 90.0
_NAMESPACES: Final = ("--mount", "--pid", "--cgroup", "--net", "--uts", "--ipc")
_ENTER: Final = ("--mount", "--pid", "--cgroup", "--net", "--uts", "--ipc", "--root", "--wd")

# Only what the host's own units name; everything that a distribution would start beside them is left out.
_TARGETS: Final = ("sysinit", "basic", "network-online", "network", "shutdown", "multi-user")
_CLOUD_FINAL: Final = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for part in /shared/parts/*; do "$part" || exit 1; done'
[Install]
WantedBy=multi-user.target
"""
# As the ECS-optimized image has it: after cloud-init's last stage.
_AGENT: Final = """[Unit]
DefaultDependencies=no
After=cloud-final.service
[Service]
ExecStart=/bin/sh -c 'cp /etc/ecs/ecs.config /shared/agent-started; exec sleep 1000000'
[Install]
WantedBy=multi-user.target
"""
_BOOT: Final = """set -e
mount --make-rprivate /
mount -t tmpfs tmpfs {top}
mkdir {top}/upper {top}/work {top}/root
mount -t overlay overlay -o lowerdir=/,upperdir={top}/upper,workdir={top}/work {top}/root
cd {top}/root
mkdir -p shared etc/ecs
for each in etc/systemd/system tmp run var sys/fs/cgroup; do mkdir -p $each; mount -t tmpfs tmpfs $each; done
mount --rbind /dev dev
mount -t proc proc proc
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --bind {shared} shared
mount --bind shared/console dev/console
cp shared/units/* etc/systemd/system/
mkdir -p etc/systemd/system/multi-user.target.wants
for each in cloud-final ecs; do ln -s ../$each.service etc/systemd/system/multi-user.target.wants/; done
ip link set lo up
ip addr add {metadata}/32 dev lo
ip addr add {credentials}/32 dev lo
exec chroot . {systemd} --system --unit=multi-user.target --log-target=console
"""


def why_not() -> str:
    """What this machine lacks for such a host; "" where nothing."""
    if os.geteuid():
        return "only root can make namespaces and mounts"
    if missing := [name for name in ("unshare", "nsenter", "ip", "curl") if shutil.which(name) is None]:
        return f"there is no {missing[0]} here"
    if not SYSTEMD.exists():
        return "there is no systemd here"
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        return "this kernel has no overlayfs"
    tried = subprocess.run(
        ["unshare", *_NAMESPACES, "--fork", "sh", "-c", "mount -t cgroup2 none /mnt"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else "namespaces or cgroup version 2 are not allowed here"


class Machine:
    """A host that has booted, or is about to; `shared` is the one folder that it has in common with the test."""

    def __init__(self, folder: Path, *, parts: Mapping[str, str]) -> None:
        self.shared = folder / "shared"
        self._top = folder / "top"
        self._console = self.shared / "console"
        self._top.mkdir()
        for name in ("units", "parts"):
            (self.shared / name).mkdir(parents=True)
        for name in _TARGETS:
            (self.shared / "units" / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n", encoding="ascii")
        (self.shared / "units" / "cloud-final.service").write_text(_CLOUD_FINAL, encoding="ascii")
        (self.shared / "units" / "ecs.service").write_text(_AGENT, encoding="ascii")
        self._console.touch()
        for name, text in parts.items():
            part = self.shared / "parts" / name
            part.write_text(text, encoding="utf-8")
            part.chmod(0o755)
        self._started: subprocess.Popen[bytes] | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    def boot(self) -> None:
        """Start process 1, and wait until it takes commands."""
        script = _BOOT.format(
            top=self._top, shared=self.shared, metadata=METADATA, credentials=CREDENTIALS, systemd=SYSTEMD
        )
        with self._console.open("ab") as console:
            self._started = subprocess.Popen(
                ["unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", "-c", script],
                stdout=console,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "container": "other"},
                start_new_session=True,
            )
        self.until(lambda: self.run("systemctl", "show-environment").returncode == 0, "systemd does not answer")

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside, to its end."""
        return subprocess.run(
            self._inside(*command), capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
        )

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command inside that goes on until the machine is off."""
        made = subprocess.Popen(
            self._inside(*command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._children.append(made)
        return made

    def state(self, unit: str) -> str:
        """active, inactive, failed ..."""
        return self.run("systemctl", "is-active", unit).stdout.strip()

    def until(self, what: Callable[[], bool], said: str) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not what():
            assert time.monotonic() < end, f"{said}; the console:\n{self.console()}"
            time.sleep(0.1)

    def console(self) -> str:
        """What process 1 and the units wrote to the console."""
        return self._console.read_text(encoding="utf-8", errors="replace")[-6000:]

    def off(self) -> None:
        """Kill process 1, and with it all that runs inside."""
        for each in (*self._children, self._started):
            if each is not None and each.poll() is None:
                each.kill()
            if each is not None:
                each.wait(DEADLINE_SECONDS)

    def _inside(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self._first()), *_ENTER, *command]

    def _first(self) -> int:
        assert self._started is not None
        children = Path(f"/proc/{self._started.pid}/task/{self._started.pid}/children")
        found = children.read_text(encoding="ascii").split() if children.exists() else []
        return int(found[0]) if found else self._started.pid


@contextlib.contextmanager
def machine(folder: Path, *, parts: Mapping[str, str]) -> Iterator[Machine]:
    """A machine that is off at the end, however the test ends."""
    made = Machine(folder, parts=parts)
    try:
        yield made
    finally:
        made.off()


PYTHON: Final = sys.executable
