"""A region from start to stop: lock, socket, engine, endpoint, region file."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from spotbatch import __version__
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError, Unavailable
from spotbatch.local import controller_stack, region_file, settings_file
from spotbatch.local.api import cloudformation, queues, stacks
from spotbatch.local.api.admin import Admin
from spotbatch.local.api.api_faults import ApiFaults
from spotbatch.local.api.app import Application
from spotbatch.local.api.fault_injection import Experiments
from spotbatch.local.api.metadata import PREFIX as METADATA_PREFIX
from spotbatch.local.api.metadata import MetadataService
from spotbatch.local.api.names import Names
from spotbatch.local.api.region import QUEUE, STACK, Region
from spotbatch.local.api.server import BACKLOG, Server, server_of
from spotbatch.local.api.sigv4 import Verifier
from spotbatch.local.contract import Engine, EngineSettings
from spotbatch.local.durable_state import DurableState, StateStore
from spotbatch.local.engine.group_commit import say
from spotbatch.local.engine.unfinished import unfinished_in
from spotbatch.local.events.functions.assets import Assets
from spotbatch.local.events.monitor import Monitor
from spotbatch.local.faults import of_event
from spotbatch.local.machine import this_machine
from spotbatch.local.metadata.sessions import Sessions
from spotbatch.local.moto_bridge import MotoBridge
from spotbatch.local.region_file import RegionInfo
from spotbatch.local.settings import FOREVER, NO_QUOTA, Arguments, RegionSettings, parse_arguments
from spotbatch.local.settings_change import check_start
from spotbatch.local.settings_file import StartSettings
from spotbatch.local.template_file import read_template, stack_name_of
from spotbatch.loopback import bind

OpenEngine = Callable[[EngineSettings], Awaitable[Engine]]

_LOCK_NAME: Final = "region.lock"
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def main(arguments: Sequence[str], open_engine: OpenEngine) -> int:
    """Run a region as a program. Returns the exit code: 0 after a clean stop, otherwise the error's own."""
    try:
        asyncio.run(run(parse_arguments(arguments), open_engine))
    except KeyboardInterrupt:  # before the region could handle the signal
        return 130
    except SpotbatchError as error:
        sys.stderr.write(f"spotbatch local: {error}\n")
        return error.exit_code
    return 0


async def run(arguments: Arguments, open_engine: OpenEngine) -> None:
    """Run a region until SIGTERM or SIGINT, or until its API is told to stop. Raises SpotbatchError."""
    _make_home(arguments.home)
    with _lock(arguments.home), _stop_signals() as stop:
        start = _start_settings(arguments)
        settings = start.region_settings(arguments)
        if not settings.vcpu_quota:
            machine = this_machine()
            say(f"hosts have {machine.vcpu_quota} vCPUs together ({machine}): --vcpu-quota N for more or less, or none")
        _make_artifacts_folder(settings)
        before = _last_info(settings.home)
        preferred = urlsplit(before.endpoint).port or 0 if before else 0
        ports = [settings.port] if settings.port else [preferred, 0]
        with contextlib.closing(bind(ports, backlog=BACKLOG)) as listener:
            info = _info(settings, listener.getsockname()[1], before)
            with settings_file.kept_for_the_next_start(settings.home, start):  # before a job can be accepted with them
                assets = Assets(settings.home / "assets")
                moto = MotoBridge(
                    account_id=info.account_id,
                    region=info.region,
                    port=listener.getsockname()[1],
                    asset_of=assets.content,
                    store=StateStore(settings.home / "stacks.db"),
                )
                monitor = Monitor(
                    moto=moto,
                    account_id=info.account_id,
                    region=info.region,
                    home=settings.home,
                    environment=_function_environment(info),
                    fault_of=partial(of_event, settings.faults, settings.seed),
                )
                moto.on_loaded = monitor.install_hooks
                moto.on_promised = monitor.rules_changed
                moto.on_made = monitor.resources_made
                engine_settings = replace(
                    _engine_settings(settings, info),
                    secret_of=moto.secret_of_job,
                    observers=(monitor.observe,),
                    is_observed=lambda: monitor.is_wanted,
                )
                engine = await _opened(open_engine, engine_settings)
            try:
                await _serve(settings, info, engine, moto, monitor, assets, listener, stop)
            finally:
                try:
                    await monitor.close()
                finally:
                    try:
                        await engine.close()
                    finally:
                        region_file.mark_stopped(settings.home)


def _start_settings(arguments: Arguments) -> StartSettings:
    """The typed options over the stored ones. Reports what that means for waiting jobs, or raises InvalidInput."""
    kept = settings_file.read(arguments.home)
    start = settings_file.merged(kept, arguments, os.environ)
    for line in check_start(kept, start, arguments, unfinished_in(arguments.home), os.environ):
        say(line)
    return start


async def _opened(open_engine: OpenEngine, settings: EngineSettings) -> Engine:
    try:
        return await open_engine(settings)
    except OSError as error:
        raise Unavailable(
            f"the region in {settings.home} cannot start: {error.filename or 'its files'}: {error.strerror}; "
            "what is there may be another user's or no folder: mend it, or choose another --home"
        ) from error


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """An event set by SIGTERM and SIGINT: from the very start, a stop is clean."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def _serve(
    settings: RegionSettings,
    info: RegionInfo,
    engine: Engine,
    moto: MotoBridge,
    monitor: Monitor,
    assets: Assets,
    listener: socket.socket,
    stop: asyncio.Event,
) -> None:
    port = listener.getsockname()[1]
    names = Names(region=info.region, account_id=info.account_id)
    region = Region(engine=engine, names=names, artifacts_url=info.artifacts_url, idle_seconds=settings.idle_seconds)
    region.user_data_of = moto.user_data_of
    region.clock = lambda: time.time() + settings.faults.clock_skew_seconds
    monitor.attach(region)

    async def load(
        name: str, body: dict[str, Any], parameters: Mapping[str, str], imports: Mapping[str, str], beside: str = ""
    ) -> dict[str, Any]:
        if beside:
            await asyncio.to_thread(assets.take, Path(beside))
        return await stacks.load(region, moto, name, body, parameters=parameters, imports=imports)

    def secret_of(access_key: str) -> str | None:
        return info.secret_key if access_key == info.access_key else moto.secret_of(access_key)

    async def own_controller() -> dict[str, str]:
        return await controller_stack.outputs(region, load)

    metadata = MetadataService(
        on_rebalance=monitor.rebalance_recommended,
        engine=engine,
        names=names,
        sessions=Sessions(key=info.secret_key.encode()),
        hosts_folder=settings.home / "hosts",
        clock=time.time,
    )
    durable = DurableState(moto=moto, store=moto.store, account_id=info.account_id, region=info.region)
    application = Application(
        region=region,
        admin=Admin(
            region=region, load_stack=load, own_controller=own_controller, shut_down=stop.set, metadata=metadata
        ),
        metadata=metadata,
        experiments=Experiments(region=region, metadata=metadata, seed=settings.seed),
        verifier=Verifier(secret_of=secret_of),
        secret_key=info.secret_key,
        port=port,
        moto=durable.answer,
        elsewhere=moto,
        functions=monitor.answer_lambda,
        was_asked=monitor.service_was_asked,
        is_unsafe=settings.unsafe_no_auth,
        faults=None if settings.faults.is_kind else ApiFaults(plan=settings.faults, seed=settings.seed),
    )
    try:
        _take_up(region, moto)
        for path, body in _templates(settings):
            known = body.get("Parameters") or {}
            given = {name: value for name, value in settings.parameters.items() if name in known}
            await load(stack_name_of(path), body, given, settings.imports, str(path))
        async with _watched(engine, stop):
            await _until_stopped(server_of(application), listener, stop, settings.home, info)
    finally:
        region.close()
        moto.close()


def _templates(settings: RegionSettings) -> list[tuple[Path, dict[str, Any]]]:
    """The templates to load. Raises InvalidInput for a parameter that none of them has."""
    found = [(path, read_template(path)) for path in settings.templates]
    known = {name for _, body in found for name in body.get("Parameters") or {}}
    if unknown := sorted(settings.parameters.keys() - known):
        raise InvalidInput(f"--parameter {', '.join(unknown)}: no template has it; they have {sorted(known)}")
    return found


@contextlib.asynccontextmanager
async def _watched(engine: Engine, stop: asyncio.Event) -> AsyncIterator[None]:
    """Stop the region if its engine cannot continue, and raise the reason."""
    failing = asyncio.create_task(engine.failed())
    failing.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        failing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await failing


def _take_up(region: Region, moto: MotoBridge) -> None:
    """Resume where the last run of this region stopped."""
    for name, stack in region.documents(STACK).items():
        stacks.recall(moto, stack)
        if stack["StackStatus"] == "DELETE_IN_PROGRESS":
            region.keep(asyncio.create_task(cloudformation.take_up(region, moto, name)))
    for name, queue in region.documents(QUEUE).items():
        if queue["status"] == "DELETING":
            region.keep(asyncio.create_task(queues.finish_deletion(region, name)))


async def _until_stopped(
    server: Server, listener: socket.socket, stop: asyncio.Event, home: Path, info: RegionInfo
) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        # The socket has listened since it was bound: a request that arrives now is answered once the server has begun.
        region_file.write(home, info)
        _say_ready(info)
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.stop()
        await serving


def _say_ready(info: RegionInfo) -> None:
    with contextlib.suppress(OSError):  # our output may no longer have a reader
        sys.stdout.write(f"spotbatch local region {info.region} ready at {info.endpoint} (pid {info.pid})\n")
        sys.stdout.flush()


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _cannot_be_made(error, "--home") from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise Unavailable(f"the folder {home} is read-only: choose another --home")


def _make_artifacts_folder(settings: RegionSettings) -> None:
    try:
        settings.artifacts_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_made(error, "--artifacts" if settings.artifacts else "--home") from error


def _cannot_be_made(error: OSError, option: str) -> Unavailable:
    return Unavailable(f"the folder {error.filename} cannot be made ({error.strerror}): choose another {option}")


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Two regions must not share a journal. The lock is released with the process, however it ends."""
    try:
        descriptor = os.open(home / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            f"the file {home / _LOCK_NAME} cannot be opened ({error.strerror}): "
            "it may be another user's; choose another --home"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stop = region_file.command("down", home)
            raise Unavailable(f"a region runs in {home} already: stop it with `{stop}`") from None
        yield
    finally:
        os.close(descriptor)


def _last_info(home: Path) -> RegionInfo | None:
    try:
        return region_file.read(home)
    except NotFound:
        return None
    except InvalidInput as error:
        sys.stderr.write(f"{error}; going on with new credentials\n")
        return None


def _info(settings: RegionSettings, port: int, before: RegionInfo | None) -> RegionInfo:
    pid = os.getpid()
    return RegionInfo(
        endpoint=f"http://127.0.0.1:{port}",
        home=str(settings.home),
        region=settings.region,
        account_id=settings.account_id,
        access_key=before.access_key if before else f"LKIA{secrets.token_hex(8).upper()}",
        secret_key=before.secret_key if before else secrets.token_urlsafe(30),
        artifacts=str(settings.artifacts_folder),
        version=__version__,
        pid=pid,
        pid_started=region_file.process_started(pid),
    )


def _function_environment(info: RegionInfo) -> dict[str, str]:
    """The environment of each function in the region: the endpoint, and the region's own keys instead of its role's."""
    return {**info.environment(), "AWS_DEFAULT_REGION": info.region, "AWS_REGION": info.region}


def _engine_settings(settings: RegionSettings, info: RegionInfo) -> EngineSettings:
    return EngineSettings(
        home=settings.home,
        artifacts=settings.artifacts_folder,
        account_id=info.account_id,
        region=info.region,
        job_environment=_job_environment(settings, info),
        images=settings.images,
        notice_seconds=settings.notice_seconds,
        boot_seconds=settings.boot_seconds,
        idle_seconds=settings.idle_seconds,
        stop_grace_seconds=settings.stop_grace_seconds,
        keep_jobs_seconds=None if settings.keep_jobs_days == FOREVER else settings.keep_jobs_days * 86_400,
        vcpu_quota=None if settings.vcpu_quota == NO_QUOTA else settings.vcpu_quota or this_machine().vcpu_quota,
        is_quota_of_machine=settings.vcpu_quota == 0,
        draining=settings.draining,
        reclaims_per_host_hour=settings.reclaims_per_host_hour,
        traces=settings.traces,
        trace_speed=settings.trace_speed,
        seed=settings.seed,
        runner=settings.runner,
        metadata_url=f"{info.endpoint}{METADATA_PREFIX}",
        faults=settings.faults,
    )


def _job_environment(settings: RegionSettings, info: RegionInfo) -> dict[str, str]:
    """The environment of every job: the region itself, this Python's folder on PATH, and what the caller named."""
    own = str(Path(sys.executable).parent)
    search = f"{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**info.environment(), "PATH": search, **settings.variables}
