"""The helper that starts jobs' processes: single-threaded, standard library, run by `python -I -S helper.py FD`.

It is separate from the region because posix_spawn from a large process with a busy event loop stalls both. It speaks
JSON over a SOCK_SEQPACKET socket. In: ["plan", number, argv, env, memory limit in bytes], ["start", id, number of a
plan, more env, cwd, log], ["signal", id, number]. Out: ["started", id, pid], ["failed", id, why], ["overran", id,
bytes], ["ended", id, wait status]. When the region ends, however that happens, the socket reports EOF and the helper
ends every process group that it started: SIGTERM to its first process, a short grace period, SIGKILL to all.
"""

import contextlib
import json
import os
import select
import signal
import socket
import stat
import sys
import time

_MESSAGE_BYTES = 1 << 20
_GRACE_SECONDS = 2.0
_MOST_NEWS = 1_000
_MOST_PLANS = 256  # the same number as in the region
_HOLD_SECONDS = 0.005  # news of a start waits this long for news of its end: short jobs report both at once
_MEMORY_LOOK_SECONDS = 0.5  # only while something runs: an idle helper sleeps
_DEFAULT_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ]


class Helper:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.set_inheritable(False)  # otherwise every job holds the region's socket, and EOF never comes
        self.pid_of: dict[int, int] = {}  # attempt id -> pid, which is also its group and session
        self.id_of: dict[int, int] = {}
        self.news: list[list[object]] = []  # to be sent together
        self.is_urgent = False
        self.held_since = 0.0
        self.look_at = 0.0
        self.plans: dict[int, tuple[list[str], dict[bytes, bytes], str, int]] = {}  # oldest first
        self.programs: dict[tuple[str, str], str] = {}  # (name, PATH) -> file, as last found
        self.folders: set[str] = set()  # of logs: known to exist
        self.memory_limit: dict[int, int] = {}  # pid -> memory limit of its session, in bytes
        self.wakeup, write_end = os.pipe()
        os.set_blocking(write_end, False)
        os.set_blocking(self.wakeup, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # the region decides when to stop, not a Ctrl-C in its terminal

    def run(self) -> None:
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        poller.register(self.wakeup, select.POLLIN)
        while True:
            ready = poller.poll(self.patience())
            for descriptor, _ in ready:
                if descriptor == self.wakeup:
                    self.drain()
                    self.reap()
                elif not self.obey(self.sock.recv(_MESSAGE_BYTES)):
                    self.end_all()
                    return
            if self.memory_limit and time.monotonic() >= self.look_at:
                self.end_overrunning()
                self.look_at = time.monotonic() + _MEMORY_LOOK_SECONDS
            if self.is_time_to_tell():
                self.tell()

    def patience(self) -> float | None:
        """Milliseconds until something is due even if nothing happens."""
        if not self.news and not self.memory_limit:
            return None
        when = self.held_since + _HOLD_SECONDS if self.news else self.look_at
        return max(0.0, 1000 * (when - time.monotonic()))

    def is_time_to_tell(self) -> bool:
        if not self.news:
            return False
        return self.is_urgent or time.monotonic() - self.held_since >= _HOLD_SECONDS

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.wakeup, 4096)  # one byte per signal; any that remain wake us again

    def obey(self, message: bytes) -> bool:
        """Carry out one batch; False once the region is gone."""
        if not message:
            return False
        for order in json.loads(message):
            if order[0] == "start":
                self.start(*order[1:])
            elif order[0] == "plan":
                self.plan(*order[1:])
            else:
                self.signal(order[1], order[2])
        return True

    def plan(self, number: int, argv: list[str], env: dict[str, str], memory_limit: int) -> None:
        self.plans[number] = (argv, encoded(env), env.get("PATH", os.defpath), memory_limit)
        self.programs.clear()  # each job does its own lookup
        if len(self.plans) > _MOST_PLANS:
            del self.plans[next(iter(self.plans))]

    def start(self, attempt_id: int, number: int, own: dict[str, str], cwd: str, log: str) -> None:
        argv, env, search, memory_limit = self.plans[number]
        program = self.programs.get((argv[0], search))
        try:
            self.make_folder_of(log)
            os.chdir(cwd)
            if program is None or not os.access(program, os.X_OK):
                program = self.programs[argv[0], search] = find_program(argv[0], search)
            pid = os.posix_spawn(
                program,
                argv,
                {**env, **encoded(own)},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=_DEFAULT_SIGNALS,
            )
        except (OSError, ValueError) as error:
            self.folders.clear()  # one may have been removed
            self.say(["failed", attempt_id, str(error)])
            return
        self.pid_of[attempt_id] = pid
        self.id_of[pid] = attempt_id
        self.memory_limit[pid] = memory_limit
        if not self.news:
            self.held_since = time.monotonic()
        self.news.append(["started", attempt_id, pid])

    def make_folder_of(self, log: str) -> None:
        folder = log.rpartition("/")[0]
        if folder not in self.folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)  # noqa: PTH102 - pathlib is slow to import here
            self.folders.add(folder)

    def signal(self, attempt_id: int, number: int) -> None:
        """As `docker stop`: SIGTERM reaches only the command, SIGKILL everything that it started in its group."""
        pid = self.pid_of.get(attempt_id)
        if pid is None:
            return
        if number == signal.SIGKILL:
            end_group(pid, number)
        else:
            tell_leader(pid, number)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            attempt_id = self.id_of.pop(pid, None)
            self.memory_limit.pop(pid, None)
            if attempt_id is not None:
                del self.pid_of[attempt_id]
                end_group(pid, signal.SIGKILL)  # also ends what the command left behind in its group
                self.say(["ended", attempt_id, status])

    def end_overrunning(self) -> None:
        """SIGKILL every session that uses more memory than its job requested, as the kernel does in a container."""
        resident = memory_by_owner(set(self.memory_limit))
        for pid, limit in list(self.memory_limit.items()):
            processes = resident.get(pid, {})
            if sum(processes.values()) <= limit:
                continue
            used = sum(proportional(each, resident_bytes) for each, resident_bytes in processes.items())
            if used > limit:
                del self.memory_limit[pid]
                self.say(["overran", self.id_of[pid], used])
                end_group(pid, signal.SIGKILL)

    def say(self, event: list[object]) -> None:
        self.news.append(event)
        self.is_urgent = True

    def tell(self) -> None:
        """Send all news in one message."""
        for start in range(0, len(self.news), _MOST_NEWS):
            with contextlib.suppress(OSError):  # the region is gone: the next recv reports it
                self.sock.send(json.dumps(self.news[start : start + _MOST_NEWS]).encode())
        self.news.clear()
        self.is_urgent = False

    def end_all(self) -> None:
        for pid in list(self.id_of):
            tell_leader(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self.id_of and time.monotonic() < deadline:
            self.reap()
            select.select([self.wakeup], [], [], 0.05)
        for pid in list(self.id_of):
            end_group(pid, signal.SIGKILL)


def encoded(env: dict[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(value) for name, value in env.items()}


def tell_leader(pid: int, number: int) -> None:
    """A process that has not been reaped yet: its pid cannot have been reused."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def end_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def memory_by_owner(owners: set[int]) -> dict[int, dict[int, int]]:
    """Resident bytes of processes by the owner whose session they are in, or else from which they descend (proc(5):
    fields 4, 6 and 24 of stat). Shared pages count in each.
    """
    page, found = os.sysconf("SC_PAGE_SIZE"), dict[int, tuple[int, int, int]]()
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is slow to import here
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - as above
                fields = file.read().rpartition(b")")[2].split()
                found[int(name)] = int(fields[1]), int(fields[3]), int(fields[21]) * page
    used = dict[int, dict[int, int]]()
    for pid, (_, _, resident_bytes) in found.items():
        each = pid
        while each in found and each not in owners and found[each][1] not in owners:
            each = found[each][0]
        if each in found:
            used.setdefault(each if each in owners else found[each][1], {})[pid] = resident_bytes
    return used


def proportional(pid: int, resident_bytes: int) -> int:
    """Bytes of a process, counting its share of shared pages (PSS, proc(5): smaps_rollup).

    It costs the kernel a walk over all its pages, so it is read only for those with too many resident bytes.
    """
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123 - as above
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return resident_bytes


def find_program(name: str, search: str) -> str:
    """The file that a shell would run for this name. Raises FileNotFoundError in Docker's words."""
    if "/" in name:
        return name
    for folder in search.split(os.pathsep):
        candidate = f"{folder or '.'}/{name}"
        if os.access(candidate, os.X_OK) and not stat.S_ISDIR(os.stat(candidate).st_mode):  # noqa: PTH116 - pathlib is slow to import here
            return candidate
    raise FileNotFoundError(f'exec: "{name}": executable file not found in $PATH')


if __name__ == "__main__":
    Helper(socket.socket(fileno=int(sys.argv[1]))).run()
