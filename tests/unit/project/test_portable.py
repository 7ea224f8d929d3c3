"""What needs no Linux runs without it: its own calls are taken away, and /proc and /sys are not there.

The region's processes and `spotrun` need these when they run; a real Mac was not tried (docs/verified.md).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spotbatch.batch.errors import Unavailable
from spotbatch.local.start import start

WITHOUT_LINUX = """
import importlib, os, pkgutil, select, signal, socket, sys

for module, names in (
    (os, "pidfd_open sched_getaffinity sched_setaffinity memfd_create posix_fadvise posix_fallocate eventfd splice "
         "copy_file_range getxattr setns unshare pipe2 P_PIDFD"),
    (select, "epoll EPOLLIN"),
    (signal, "pidfd_send_signal sigtimedwait sigwaitinfo"),
    (socket, "SOCK_SEQPACKET SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED SCM_CREDENTIALS AF_NETLINK"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

def refuse(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "there is no such file on other systems", arguments[0])

import spotbatch
sys.addaudithook(refuse)
"""
IMPORTS = """
found = []
for room in sys.argv[1:]:
    names = [f"spotbatch.{room}"]
    if hasattr(importlib.import_module(names[0]), "__path__"):
        path = sys.modules[names[0]].__path__
        names += [each.name for each in pkgutil.walk_packages(path, f"spotbatch.{room}.")]
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
            found.append(name)
print(len(found))
"""
RUNS = """
from spotbatch.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
ROOMS = (
    *("audit", "aws", "batch", "cli", "client", "controller", "deployment", "doctor", "local", "mapped", "policy"),
    *("pricing", "rehearsal", "runs", "runtime", "simulate", "testing", "web"),
)


def without_linux(code: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
    return subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_LINUX}{code}", *arguments],
        env={**kept, "HOME": str(folder)},
        cwd=folder,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_is_imported_without_linux(tmp_path: Path) -> None:
    done = without_linux(IMPORTS, *ROOMS, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--help",), "The daily loop"),
        (("estimate", "--jobs", "20", "--time", "30m", "--json"), '"work_seconds": 1800'),
        (("simulate", "--jobs", "20", "--time", "20m", "--runs", "2", "--cores", "1", "--json"), '"is_simulated"'),
        (("prices", "show", "--types", "c5.large"), "c5.large"),
    ],
)
def test_commands_that_start_no_job_run_without_linux(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = without_linux(RUNS, *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_on_another_system_the_region_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Unavailable, match="needs Linux, and this is darwin: start it in a Linux machine or container"):
        start(tmp_path / "home", [])
    assert not (tmp_path / "home").exists()
