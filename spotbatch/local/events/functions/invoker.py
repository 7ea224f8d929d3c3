"""Invokes functions: warm processes, synchronous calls, and asynchronous ones with retries and destinations."""

import asyncio
import os
import secrets
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import SpotbatchError
from spotbatch.local.events.functions.code import unpacked
from spotbatch.local.events.functions.function import (
    RETRY_SECONDS,
    Function,
    Outcome,
    destination_record,
    failed,
)
from spotbatch.local.events.functions.process import FunctionProcess

_WARM_SECONDS: Final = 300.0
_THROTTLED_SECONDS: Final = 1.0
_MOST_TOGETHER: Final = max(4, 2 * (os.cpu_count() or 1))  # per function: AWS's default is 1,000 per account
_THROTTLED: Final = "Rate Exceeded."

WriteLog = Callable[[str, str, Sequence[str]], Awaitable[None]]
Send = Callable[[str, str], Awaitable[None]]  # to an ARN, a message


class Throttled(SpotbatchError):
    """All concurrent calls allowed by a function's reserved concurrency are in use."""

    exit_code = 5


@dataclass(slots=True)
class _Pool:
    """The processes of one function's name."""

    idle: list[FunctionProcess] = field(default_factory=list)
    busy: set[FunctionProcess] = field(default_factory=set)
    calls: int = 0
    turn: asyncio.Condition = field(default_factory=asyncio.Condition)


class Invoker:
    """Runs functions in processes below a folder of the region."""

    def __init__(
        self,
        *,
        folder: Path,
        environment: Mapping[str, str],
        write_log: WriteLog,
        send: Send,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._write_log = write_log
        self._send = send
        self._retry_seconds = retry_seconds
        self._pools: dict[str, _Pool] = defaultdict(_Pool)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def invoke(
        self, function: Function, event: bytes, *, request_id: str = "", client_context: Any = None
    ) -> Outcome:
        """A synchronous call. Raises Throttled."""
        refusal = function.refusal
        if refusal:
            return failed(refusal, "Runtime.InvalidEntrypoint")
        pool = self._pools[function.arn]
        if function.reserved is not None and pool.calls >= function.reserved:
            raise Throttled(_THROTTLED)
        async with pool.turn:
            await pool.turn.wait_for(lambda: pool.calls < _MOST_TOGETHER)
            pool.calls += 1
        try:
            return await self._called(pool, function, event, request_id or str(uuid.uuid4()), client_context)
        finally:
            async with pool.turn:
                pool.calls -= 1
                pool.turn.notify()

    async def _called(
        self, pool: _Pool, function: Function, event: bytes, request_id: str, client_context: Any
    ) -> Outcome:
        try:
            process = await self._process(pool, function)
        except (OSError, SpotbatchError) as error:
            return failed(str(error), "Runtime.InvalidEntrypoint")
        pool.busy.add(process)
        try:
            outcome = await process.call(event, request_id=request_id, client_context=client_context)
        except BaseException:
            process.kill()
            raise
        finally:
            pool.busy.discard(process)
        if process.is_alive:
            self._keep_warm(pool, process)
        else:
            await process.close()
        await self._write_log(function.log_group, process.log_stream, outcome.log.split("\n"))
        return outcome

    async def _process(self, pool: _Pool, function: Function) -> FunctionProcess:
        """A warm process with exactly this code and configuration, or a new one."""
        while pool.idle:
            process = pool.idle.pop()
            if process.function.key == function.key and process.is_alive:
                return process
            await process.close()
        code = await asyncio.to_thread(unpacked, self._folder, function.name, function.code)
        stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{function.version}]{secrets.token_hex(16)}"
        return await FunctionProcess.start(function, code, self._variables(function, code, stream), stream)

    def _variables(self, function: Function, code: Path, stream: str) -> dict[str, str]:
        """Developer guide, "Using Lambda environment variables": the reserved ones override the function's own."""
        own = str(Path(sys.executable).parent)
        return {
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "PATH": f"{own}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(code),
            **function.environment,
            **self._environment,
            "_HANDLER": function.handler,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mib),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "LAMBDA_TASK_ROOT": str(code),
            "LAMBDA_RUNTIME_DIR": str(Path(sys.executable).parent),
        }

    def _keep_warm(self, pool: _Pool, process: FunctionProcess) -> None:
        process.idle_since = time.monotonic()
        pool.idle.append(process)

        def cool() -> None:
            if process in pool.idle and time.monotonic() - process.idle_since >= _WARM_SECONDS - 1:
                pool.idle.remove(process)
                self._keep(process.close())

        asyncio.get_running_loop().call_later(_WARM_SECONDS, cool)

    # ---- asynchronous calls ----

    def invoke_later(self, function: Function, event: bytes, *, request_id: str = "") -> str:
        """An asynchronous call: it is retried, and its outcome goes to the configured destination. Returns its id."""
        request_id = request_id or str(uuid.uuid4())
        self._keep(self._until_done(function, event, request_id))
        return request_id

    async def _until_done(self, function: Function, event: bytes, request_id: str) -> None:
        begun = time.monotonic()
        tries = 0
        waits = list(self._retry_seconds[: function.retries.attempts])
        while True:
            try:
                outcome = await self.invoke(function, event, request_id=request_id)
                tries += 1
                if not outcome.error or not waits:
                    break
                wait = waits.pop(0)
            except Throttled as error:
                outcome, wait = failed(str(error), "TooManyRequestsException"), _THROTTLED_SECONDS
            if time.monotonic() - begun + wait > function.retries.most_age_seconds:
                break
            await asyncio.sleep(wait)
        await self._tell(function, event, outcome, request_id, tries)

    async def _tell(self, function: Function, event: bytes, outcome: Outcome, request_id: str, tries: int) -> None:
        retries = function.retries
        to = retries.on_failure if outcome.error else retries.on_success
        if to:
            at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            record = destination_record(function, outcome, event, request_id=request_id, tries=tries, at=at)
            await self._send(to, record)
        if outcome.error and retries.dead_letters:  # the event itself, unchanged
            await self._send(retries.dead_letters, event.decode("utf-8", "replace"))

    def _keep(self, work: Any) -> None:
        if self._is_closing:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all processes; unfinished asynchronous calls are lost, like the region's other moto state."""
        self._is_closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pool in self._pools.values():
            for process in [*pool.idle, *pool.busy]:
                await process.close()
