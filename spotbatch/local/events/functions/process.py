"""One process of a function: started cold, kept warm, one call at a time, killed if a call takes too long."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from spotbatch.local.events.functions import bootstrap
from spotbatch.local.events.functions.function import Function, Outcome, failed

_INIT_SECONDS: Final = 10.0  # developer guide, "Lambda execution environment": init; then it counts as the first call's
_LOG_SECONDS: Final = 1.0  # how long a response waits for the end of its log
_MOST_LINE: Final = 8 << 20  # of a response: a payload has at most 6 MB
_MOST_LOG: Final = 262_144  # characters of a call's log kept in memory


class FunctionProcess:
    """Created by `start`; not to be called concurrently."""

    def __init__(
        self, function: Function, process: asyncio.subprocess.Process, answers: asyncio.StreamReader, mark: str
    ):
        self.function = function
        self.log_stream = ""
        self.idle_since = 0.0
        self._process = process
        self._answers = answers
        self._mark = mark
        self._lines: list[str] = []
        self._marks = self._answered = 0  # ends of logs, and responses, that were read
        self._log_ended = asyncio.Event()
        self._is_initialized = False
        self._is_killed = False
        self._reading = asyncio.create_task(self._read_log())

    @classmethod
    async def start(
        cls, function: Function, code: Path, environment: Mapping[str, str], log_stream: str
    ) -> "FunctionProcess":
        """Start a process of this function. Raises OSError."""
        mark = f"end-of-log-{secrets.token_hex(8)}"
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the bootstrap's own folder is not the function's
                bootstrap.__file__,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=code,
                env={**environment, "_SPOTBATCH_ANSWERS": str(writing), "_SPOTBATCH_END_OF_LOG": mark},
                pass_fds=(writing,),
                start_new_session=True,
                limit=_MOST_LINE,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        answers = asyncio.StreamReader(limit=_MOST_LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(reading, "rb")
        )
        made = cls(function, process, answers, mark)
        made.log_stream = log_stream
        return made

    @property
    def is_alive(self) -> bool:
        """Whether it can be called again."""
        return self._process.returncode is None and not self._is_killed

    async def call(self, event: bytes, *, request_id: str, client_context: Any = None) -> Outcome:
        """One call. An error in the function, its exit and its timeout are all outcomes."""
        began = time.monotonic()
        timeout = self.function.timeout_seconds
        try:
            answer, started = await self._exchange(event, request_id, client_context, timeout)
        except TimeoutError:
            self.kill()
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            message = f"{at} {request_id} Task timed out after {timeout:.2f} seconds"
            return self._logged(failed(message, "Sandbox.Timedout"), request_id, began, [message])
        if answer is None:
            await self._process.wait()
            message = f"RequestId: {request_id} Error: Runtime exited with error: {_exit(self._process.returncode)}"
            return self._logged(failed(message, "Runtime.ExitError"), request_id, began, [message])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._whole_log(), _LOG_SECONDS)
        error = answer.get("error")
        if error is None:
            return self._logged(Outcome(payload=str(answer["result"]).encode()), request_id, started or began, [])
        document = {**error, "requestId": request_id}
        outcome = Outcome(payload=json.dumps(document).encode(), error="Unhandled")
        return self._logged(outcome, request_id, started or began, [])

    async def _exchange(
        self, event: bytes, request_id: str, client_context: Any, timeout: float
    ) -> tuple[dict[str, Any] | None, float | None]:
        """The response, None if the process ended, and when the call itself began. Raises TimeoutError."""
        if not self._is_initialized:
            async with asyncio.timeout(_INIT_SECONDS + timeout):
                if await self._answer() is None:
                    return None, None
            self._is_initialized = True
        began = time.monotonic()
        asked = {
            "id": request_id,
            "arn": self.function.arn,
            "event": event.decode("utf-8", "replace") or "{}",
            "deadline_ms": round((time.time() + timeout) * 1000),
            "client_context": client_context,
        }
        async with asyncio.timeout(timeout):
            stdin = self._process.stdin
            if stdin is None:
                raise RuntimeError("its standard input is a pipe")
            with contextlib.suppress(ConnectionError):
                stdin.write(json.dumps(asked).encode() + b"\n")
                await stdin.drain()
            return await self._answer(), began

    async def _answer(self) -> dict[str, Any] | None:
        line = await self._answers.readline()
        self._answered += 1
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    async def _whole_log(self) -> None:
        """Once everything written before the last response has been read."""
        while self._marks < self._answered:
            self._log_ended.clear()
            await self._log_ended.wait()

    def _logged(self, outcome: Outcome, request_id: str, began: float, more: list[str]) -> Outcome:
        """What the function wrote, enclosed in Lambda's own lines."""
        taken = 1000 * (time.monotonic() - began)
        memory = self.function.memory_mib
        report = (
            f"REPORT RequestId: {request_id}\tDuration: {taken:.2f} ms\tBilled Duration: {int(taken) + 1} ms\t"
            f"Memory Size: {memory} MB"
        )
        start = f"START RequestId: {request_id} Version: {self.function.version}"
        lines = [start, *self._lines, *more, f"END RequestId: {request_id}", report]
        self._lines.clear()
        return Outcome(payload=outcome.payload, error=outcome.error, log="\n".join(lines))

    async def _read_log(self) -> None:
        stream = self._process.stdout
        if stream is None:
            raise RuntimeError("its standard output is a pipe")
        kept = 0
        while True:
            try:
                line = (await stream.readline()).decode("utf-8", "replace")
            except ValueError:  # longer than the buffer
                continue
            if not line:
                return
            text = line.rstrip("\n")
            if text.endswith(self._mark):
                text = text.removesuffix(self._mark)
                self._marks += 1
                self._log_ended.set()
                kept = 0
            if text and kept < _MOST_LOG:
                self._lines.append(text)
                kept += len(text)

    def kill(self) -> None:
        """Kill it, with everything that it started in its session."""
        self._is_killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kill it and wait for it to end."""
        self.kill()
        await self._process.wait()
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading


def _exit(code: int | None) -> str:
    return f"signal: {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"
