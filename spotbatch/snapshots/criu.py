"""CRIU as a separate program (GPL-2): its command lines, and running it inside a container's namespaces.

It lies in a folder of its own with its libraries, and is run through its own dynamic loader, by an open directory: a
container's file system holds neither. CRIU's own documentation of the options: criu(8).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from spotbatch.snapshots.processes import children

LIBRARIES = "usr/lib/x86_64-linux-gnu"
PROGRAM = "usr/sbin/criu"
LOADER = f"{LIBRARIES}/ld-linux-x86-64.so.2"
_COMMON = ("--manage-cgroups=ignore", "--file-locks", "-v4")
_TCP = ("--tcp-established", "--network-lock", "skip")  # never --tcp-close: a reader would take a cut for the end
_NAMESPACES = ("-m", "-p", "-u", "-i", "-n")
_END_SECONDS = 5.0
_LOG_BYTES = 1 << 20
# Joins the cgroups named before `--`, so that what is restored is in the container's; then becomes the rest.
_JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 96; shift; done; shift; exec "$@"'


class Ended(NamedTuple):
    """How a run of criu ended."""

    code: int | None  # None: it did not end in time, and was killed
    text: str  # what it printed


def dump_arguments(pid: int, *, has_tcp: bool, has_inotify: bool) -> list[str]:
    """Dump a process (its pid in its namespace) and its descendants; they stay, stopped."""
    more = [*(_TCP if has_tcp else ()), *(("--force-irmap",) if has_inotify else ())]
    return ["dump", "-t", str(pid), "-o", "dump.log", "--ghost-limit", "100G", "--leave-stopped", *_COMMON, *more]


def restore_arguments(pipes: Sequence[tuple[str, int]], *, has_tcp: bool) -> list[str]:
    """Restore, with some of our descriptors in place of pipes that are named as in /proc (`pipe:[123]`)."""
    inherited = [word for name, number in pipes for word in ("--inherit-fd", f"fd[{number}]:{name}")]
    return ["restore", "-d", "-o", "restore.log", *_COMMON, *(_TCP if has_tcp else ()), *inherited]


def check_arguments() -> list[str]:
    """Whether this processor has every instruction that the dumped one had."""
    return ["cpuinfo", "check", "--cpu-cap=ins", "-o", "cpuinfo.log"]


class Criu:
    """An unpacked CRIU."""

    def __init__(self, folder: str) -> None:
        """Raises OSError if there is none."""
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.stat(PROGRAM, dir_fd=self._folder)
        self.version = self._version()

    def command(self, arguments: Sequence[str], images: int | None = None) -> list[str]:
        """The whole command line; `images` is an open folder."""
        top = f"/proc/self/fd/{self._folder}"
        places = ["-D", f"/proc/self/fd/{images}", "-W", f"/proc/self/fd/{images}"] if images is not None else []
        return [f"{top}/{LOADER}", "--library-path", f"{top}/{LIBRARIES}", f"{top}/{PROGRAM}", *arguments, *places]

    def run(
        self,
        arguments: Sequence[str],
        images: int,
        seconds: float,
        *,
        inside: int | None = None,
        descriptors: Sequence[int] = (),
        cgroups: Sequence[str] = (),
    ) -> Ended:
        """Run it, for at most some seconds: inside a process's namespaces and in some cgroups, if given."""
        command = self.command(arguments, images)
        if inside is not None:
            command = ["nsenter", "-t", str(inside), *_NAMESPACES, "--", *command]
        if cgroups:
            command = ["/bin/sh", "-c", _JOIN, "sh", *cgroups, "--", *command]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self._folder, images, *descriptors),
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return Ended(None, "")
        return Ended(process.returncode, output.decode(errors="replace"))

    def _version(self) -> str:
        found = subprocess.run(
            self.command(["--version"]),
            pass_fds=(self._folder,),
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return found.stdout.partition("Version:")[2].split()[0]


def errors_in(log: str) -> str:
    """The first error line of criu's log, which names the cause; those after it follow from it."""
    lines = [line.partition(") ")[2] for line in log.splitlines() if "Error (" in line]
    return lines[0].partition("): ")[2] or lines[0] if lines else "criu gives no reason"


def read_log(images: int, name: str) -> str:
    """A log that criu wrote beside its images; "" if it wrote none."""
    try:
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=images), "rb") as file:
            return file.read(_LOG_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and what it started: criu is nsenter's child, in another pid namespace."""
    for _ in range(100):
        inner = children(process.pid)
        for pid in [*inner, process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS / 100)
            break
    if process.stdout is not None:
        process.stdout.close()
