"""The region's side of one helper process: orders are sent in batches, news of processes comes back."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_MESSAGE_BYTES: Final = 1 << 20
_SOCKET_BUFFER_BYTES: Final = 4 << 20
_HELPER: Final = Path(__file__).with_name("helper.py")
_STOP_SECONDS: Final = 10.0
MOST_PLANS: Final = 256  # as many as the helper keeps
_MOST_ORDERS: Final = 16  # AWS Batch's limit of 30 KiB per submission keeps such a message under _MESSAGE_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What many processes have in common; sent to the helper once. `number` is unique while this process lives."""

    number: int
    argv: Sequence[str]
    environment: Mapping[str, str]
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """One process to start. `attempt_id` is ours; the log file receives both of its outputs."""

    attempt_id: int
    plan: Plan
    own_environment: Mapping[str, str]  # takes precedence over the plan's
    folder: str
    log: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Calls:
    """Called in the event loop as news arrives; that of one message between `news_begins` and `news_ends`."""

    on_started: Callable[[int, int], None]  # attempt id, pid
    on_failed: Callable[[int, str], None]  # attempt id, reason
    on_overran: Callable[[int, int], None]  # attempt id, bytes
    on_ended: Callable[[int, int], None]  # attempt id, exit code: 128 + the signal that ended it, as in Docker
    on_lost: Callable[[], None]  # the helper is gone
    news_begins: Callable[[], None]
    news_ends: Callable[[], None]


class HelperLink:
    """Starts and signals process groups through one helper process."""

    def __init__(self, calls: Calls) -> None:
        self._calls: dict[str, Callable[..., None]] = {
            "started": calls.on_started,
            "failed": calls.on_failed,
            "overran": calls.on_overran,
            "ended": calls.on_ended,
        }
        self._on_lost = calls.on_lost
        self._news_begins, self._news_ends = calls.news_begins, calls.news_ends
        self._orders: list[object] = []  # in this turn of the loop: they are sent together
        self._waiting: deque[bytes] = deque()
        self._known_plans: dict[int, None] = {}  # known to the helper, oldest first
        self._is_closing = False
        self.is_held = False  # a push is scheduled

    def open(self) -> None:
        """Start the helper. Call this in the event loop."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (ours, theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
        with theirs:
            self._helper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_HELPER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._known_plans.clear()
        ours.setblocking(False)
        self._socket = ours
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(ours, self._read)

    def start(self, order: Start) -> None:
        plan = order.plan
        if plan.number not in self._known_plans:
            self._known_plans[plan.number] = None
            if len(self._known_plans) > MOST_PLANS:  # the helper discards the oldest too
                del self._known_plans[next(iter(self._known_plans))]
            self._send(["plan", plan.number, [*plan.argv], dict(plan.environment), plan.memory_bytes])
        self._send(["start", order.attempt_id, plan.number, dict(order.own_environment), order.folder, order.log])

    def signal(self, attempt_id: int, number: signal.Signals) -> None:
        """Signal an attempt: its first process, or with SIGKILL its whole group; has no effect if it has ended."""
        self._send(["signal", attempt_id, int(number)])

    def drop(self) -> None:
        """Abandon the helper: if it is alive, it notices and ends what it started."""
        if self._is_closing:
            return
        self._is_closing = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._waiting.clear()
        self._orders.clear()  # for attempts that are now lost: the next helper must not start them
        self._socket.close()

    def open_again(self) -> None:
        """Start a new helper to replace one that was dropped."""
        self._helper.wait(_STOP_SECONDS)
        self._is_closing = False
        self.open()

    async def close(self) -> None:
        """End every remaining process group, and the helper."""
        self.drop()
        try:
            await asyncio.to_thread(self._helper.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._helper.kill()
            await asyncio.to_thread(self._helper.wait)

    def _send(self, order: list[object]) -> None:
        if not self._orders and not self.is_held:
            self._loop.call_soon(self.push)
        self._orders.append(order)
        if len(self._orders) >= _MOST_ORDERS:
            self.push()

    def push(self) -> None:
        """Send the buffered orders now."""
        orders, self._orders = self._orders, []
        if not orders or self._is_closing:
            return
        message = json.dumps(orders).encode()
        if self._waiting:
            self._waiting.append(message)
            return
        try:
            self._socket.send(message)
        except BlockingIOError:
            self._waiting.append(message)
            self._loop.add_writer(self._socket, self._write)
        except OSError:
            self._lost()

    def _write(self) -> None:
        while self._waiting:
            try:
                self._socket.send(self._waiting[0])
            except BlockingIOError:
                return
            except OSError:
                self._lost()
                return
            self._waiting.popleft()
        self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        """Read one message: if there are more, the loop calls again."""
        try:
            message = self._socket.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._lost()
            return
        self._news_begins()
        try:
            for kind, attempt_id, value in json.loads(message):
                self._call(kind, attempt_id, value)
        finally:
            self._news_ends()

    def _call(self, kind: str, attempt_id: int, value: Any) -> None:
        if kind == "ended":
            code = value >> 8 if value & 0x7F == 0 else 128 + (value & 0x7F)
            self._calls[kind](attempt_id, code)
        else:
            self._calls[kind](attempt_id, value)

    def _lost(self) -> None:
        if not self._is_closing:
            self.drop()
            self._on_lost()
