"""Runs a command as the first process of a pid namespace, as a container does: `own_namespace.py FOLDER CWD ...`.

For jobs that want snapshots: a restored process needs its old pid, and its files under their old names. So the
attempt's folder (the current one) also appears as FOLDER, which is the same for every attempt, and /dev/shm is private.
Standard library only; run as root by `python -I -S`. pid_namespaces(7), mount_namespaces(7).
"""

import contextlib
import ctypes
import os
import signal
import sys

_NEW_MOUNTS, _NEW_PIDS = 0x00020000, 0x20000000  # sched.h
_BIND, _REC, _PRIVATE = 0x1000, 0x4000, 1 << 18  # sys/mount.h
_DIE_WITH_PARENT = 1  # sys/prctl.h
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Exits as the command does."""
    folder, current, argv = sys.argv[1], sys.argv[2], sys.argv[3:]
    check(_libc.unshare(_NEW_PIDS | _NEW_MOUNTS), "unshare")
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # none is lost before there is someone to pass it on to
    pid = os.fork()
    if pid == 0:
        try:
            become(folder, current, argv)
        except OSError as error:
            sys.stderr.write(f"{argv[0]}: {error}\n")
            os._exit(126)
    for number in _PASSED_ON:
        signal.signal(number, lambda given, _: pass_on(pid, given))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def become(folder: str, current: str, argv: list[str]) -> None:
    """The first process of the namespace turns into the command. Raises OSError."""
    _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    mount("none", "/", None, _REC | _PRIVATE)
    mount(".", folder, None, _BIND)
    mount("proc", "/proc", "proc", 0)
    mount("tmpfs", "/dev/shm", "tmpfs", 0)  # noqa: S108 - the mount point of POSIX shared memory
    os.chdir(current)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    os.execvp(argv[0], argv)  # noqa: S606 - that is its purpose


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """mount(2). Raises OSError."""
    of = None if kind is None else kind.encode()
    check(_libc.mount(os.fsencode(source), os.fsencode(target), of, ctypes.c_ulong(flags), None), f"mount {target}")


def check(result: int, what: str) -> None:
    """Raises OSError."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def pass_on(pid: int, number: int) -> None:
    """A signal for the command."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    main()
