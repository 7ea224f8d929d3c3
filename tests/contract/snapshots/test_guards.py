"""What would restore to a wrong result or a hang: with each guard, and without it."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from spotbatch.snapshots import agent, criu, processes
from spotbatch.snapshots.processes import Holdings
from tests.contract.local_api_region import until
from tests.snapshot_host import SnapshotHost, needs_criu

pytestmark = [needs_criu, pytest.mark.snapshots]

# Counts, and waits at some numbers until a file exists: so it is not the machine's speed that decides what it is doing.
COUNT = """
import os, sys, time
gates = dict(each.split("=") for each in sys.argv[1:])
print("begin", os.getpid(), flush=True)
for i in range(60):
    print(i, flush=True)
    open(os.environ["SPOTBATCH_OUTPUT_DIR"] + "/all", "a").write(f"{i} ")
    while str(i) in gates and not os.path.exists(gates[str(i)]):
        time.sleep(0.01)
"""
WHOLE = [str(i) for i in range(60)]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SnapshotHost]:
    made = SnapshotHost(tmp_path)
    yield made
    made.close()


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def counting(host: SnapshotHost, *stops: int, before: str = "") -> list[str]:
    """A command that counts, and waits at these numbers until the gate of each is opened."""
    return [*python(before + COUNT), *(f"{stop}={host.folder / f'gate-{stop}'}" for stop in stops)]


def open_gate(host: SnapshotHost, stop: int) -> None:
    (host.folder / f"gate-{stop}").touch()


def result(host: SnapshotHost) -> str:
    return (host.unit / "output" / "all").read_text()


def test_a_command_without_checkpoints_goes_on_twice_with_each_line_and_byte_exactly_once(host: SnapshotHost) -> None:
    command = counting(host, 10, 30)
    assert host.interrupt(command, "\n10\n") == 210
    open_gate(host, 10)
    assert host.interrupt(command, "\n30\n") == 210
    open_gate(host, 30)
    assert host.finish(command) == 0
    assert host.lines()[1:] == WHOLE, "the second and third attempt begin where the one before stopped"
    assert result(host).split() == WHOLE
    first, second = host.record(1), host.record(2)
    assert first["snapshot_bytes"] > 0
    assert second["snapshot_restore_seconds"] > 0
    assert not list((host.unit / "snapshots").rglob("*.*")), "what is done needs no snapshot"
    assert not (host.unit / "snapshot.json").exists()


def test_the_exit_code_of_a_restored_command_and_signals_to_it_are_its_own(host: SnapshotHost) -> None:
    program = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
print("ready", flush=True)
while True: time.sleep(0.05)
"""
    assert host.interrupt(python(program), "ready") == 210
    process = host.start(python(program))
    host.wait_for("goes on from its snapshot")
    process.send_signal(10)
    assert process.wait(60) == 7


def test_without_a_guard_a_timer_caught_at_zero_never_fires_again(
    host: SnapshotHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "is_stuck", lambda _: False)
    monkeypatch.setattr(agent, "stuck_timers", lambda _: 0)
    command = [*python(_TIMER), str(host.folder / "gate-1")]
    assert host.interrupt(command, "begin") == 210
    open_gate(host, 1)
    host.start(command)
    host.wait_for("first")
    time.sleep(0.5)  # ten periods: that nothing comes can only be seen by waiting
    assert "second" not in host.log()


def test_a_timer_caught_at_zero_is_refused_and_the_command_is_stopped_as_without_snapshots(host: SnapshotHost) -> None:
    command = [*python(_TIMER), str(host.folder / "gate-1")]
    assert host.interrupt(command, "begin") == 210
    assert "no snapshot: a periodic timer (timerfd) has expired" in host.log()
    assert host.record()["snapshot_refused"].startswith("no snapshot: a periodic timer")
    open_gate(host, 1)
    assert host.finish(command) == 0
    assert "second" in host.log()


_TIMER = """
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None)
timer = libc.timerfd_create(1, 0)
libc.timerfd_settime(timer, 0, struct.pack("4q", 0, 50_000_000, 0, 50_000_000), None)
time.sleep(0.1)
print("begin", flush=True)
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
os.read(timer, 8)
print("first", flush=True)
os.read(timer, 8)
print("second", flush=True)
"""


def test_a_connection_to_elsewhere_is_refused_since_it_would_be_cut_off(host: SnapshotHost) -> None:
    with _Stream() as stream:
        program = stream.reader()
        assert host.interrupt(python(program), "begin") == 210
        assert f"it has a TCP connection to 127.0.0.1:{stream.port}" in host.log()


def test_without_a_guard_a_reader_takes_a_closed_connection_for_the_end_of_its_data(
    host: SnapshotHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unguarded(pids: list[int]) -> Holdings:
        return processes.Holdings(0, False, False, 0, ())

    monkeypatch.setattr(processes, "holdings", unguarded)
    monkeypatch.setattr(criu, "_COMMON", (*criu._COMMON, "--tcp-close"))
    with _Stream() as stream:
        program = stream.reader()
        assert host.interrupt(python(program), "begin") == 210
        assert host.finish(python(program)) == 0
        assert "the whole file has" in host.log(), "it ended well, with a part of the data"
        assert f"the whole file has {_Stream.SIZE} bytes" not in host.log()


class _Stream:
    """A server that sends a file slowly."""

    SIZE = 1000

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._is_over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.sendall(b"x" * 10)
            self._is_over.wait(60)

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._listener.close()

    def reader(self) -> str:
        return f"""
import socket
source = socket.create_connection(("127.0.0.1", {self.port}))
size = len(source.recv(10))
print("begin", flush=True)
while data := source.recv(4096): size += len(data)
print("the whole file has", size, "bytes", flush=True)
"""


_READER = """
import os, sys, time
source = open(sys.argv[1])
first = source.read(4)
print("begin", flush=True)
while not os.path.exists(sys.argv[2]): time.sleep(0.01)
source.seek(0)
print("read", first, source.read(4), flush=True)
"""


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_file_that_changed_meanwhile_is_not_mixed_with_what_was_read_before(
    host: SnapshotHost, tmp_path: Path, is_guarded: bool
) -> None:
    data = tmp_path / "data"
    data.write_text("old.")
    command = [*python(_READER), str(data), str(host.folder / "gate-1")]
    assert host.interrupt(command, "begin") == 210
    data.write_text("new!")
    open_gate(host, 1)
    if not is_guarded:
        assert host.finish(command, PYTHONPATH=_unguarded(tmp_path)) == 0
        assert "read old. new!" in host.lines(), "a result that no run without an interruption has"
        return
    assert host.finish(command) == 210
    assert "which it had open, has other content now" in host.log()
    assert host.finish(command) == 0
    assert host.lines()[-1] == "read new! new!"


def _unguarded(folder: Path) -> str:
    """A search path on which the runtime does not check what was read."""
    place = folder / "unguarded"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import spotbatch.runtime.snapshot.snapshots as s\ns.check_read = lambda folder: None\n"
    )
    root = Path(__file__).resolve().parents[3]
    return f"{place}:{root}"


def test_a_command_that_ends_in_the_moment_of_the_dump_has_ended(
    host: SnapshotHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = host.agent._inspected

    def late(peer: int, target: int) -> Holdings:
        deadline = time.monotonic() + 20
        open_gate(host, 10)
        while processes.is_living(target) and time.monotonic() < deadline:
            time.sleep(0.01)
        return original(peer, target)

    monkeypatch.setattr(host.agent, "_inspected", late)
    assert host.interrupt(counting(host, 10), "\n10\n") == 0
    assert result(host).split() == WHOLE
    assert host.lines()[1:] == WHOLE


def test_a_dump_that_fails_leaves_the_command_to_stop_in_its_own_way(
    host: SnapshotHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import os, signal, sys, time
def stop(*_):
    open(os.environ["SPOTBATCH_CHECKPOINT_DIR"] + "/state", "w").write("mine")
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True: time.sleep(0.05)
"""
    monkeypatch.setattr(criu, "_COMMON", (*criu._COMMON, "--no-such-option"))
    assert host.interrupt(python(program), "ready") == 210
    assert "saved" in host.lines()
    assert host.record()["checkpoints_saved"] == 1


def test_a_process_that_may_be_under_landlock_is_refused(host: SnapshotHost) -> None:
    program = "import ctypes; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n"
    assert host.interrupt(counting(host, 5, before=program), "\n5\n") == 210
    assert "no_new_privs, so it may be under Landlock" in host.log()


def test_system_v_shared_memory_is_refused(host: SnapshotHost) -> None:
    attach = "import ctypes; c = ctypes.CDLL(None); c.shmat.restype = ctypes.c_void_p\n"
    attach += "i = c.shmget(0, 4096, 0o1600); c.shmat(i, None, 0); c.shmctl(i, 0, None)\n"
    assert host.interrupt(counting(host, 5, before=attach), "\n5\n") == 210
    assert "uses System V shared memory" in host.log()


def test_a_file_outside_the_carried_folders_that_is_being_written_is_refused(
    host: SnapshotHost, tmp_path: Path
) -> None:
    program = f"out = open({str(tmp_path / 'elsewhere')!r}, 'w')\n"
    assert host.interrupt(counting(host, 5, before=program), "\n5\n") == 210
    assert f"it has {tmp_path / 'elsewhere'} open for writing, which no snapshot would carry" in host.log()


def test_a_daemon_that_left_its_parent_is_refused(host: SnapshotHost) -> None:
    program = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)\n"
    )
    assert host.interrupt(counting(host, 5, before=program + "os.wait()\n"), "\n5\n") == 210
    assert "1 of its processes have left it (daemons)" in host.log()


def test_a_dump_that_does_not_fit_the_time_left_is_refused_with_both_figures(host: SnapshotHost) -> None:
    process = host.start(counting(host, 5))
    host.wait_for("\n5\n")
    host.notice(seconds=15)
    assert process.wait(60) == 210
    assert "of memory and" in host.log()
    assert "0 s are left (15 s until the host goes, less 20 s)" in host.log()


def test_images_of_another_agent_are_refused_and_the_next_attempt_begins_clean(
    host: SnapshotHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.interrupt(counting(host, 10), "\n10\n") == 210
    open_gate(host, 10)
    host.agent._key = b"another key"
    assert host.finish(counting(host, 10)) == 210
    assert "they were not dumped by an agent that has this host's key" in host.log()
    assert host.finish(counting(host, 10)) == 0
    assert "is not used: it could not be restored before" in host.log()
    assert result(host).split() == WHOLE


def test_damaged_images_in_the_store_are_never_restored(host: SnapshotHost) -> None:
    assert host.interrupt(counting(host, 10), "\n10\n") == 210
    open_gate(host, 10)
    for pack in (host.unit / "snapshots").rglob("packs/*"):
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 1
        pack.write_bytes(data)
    assert host.finish(counting(host, 10)) == 0
    assert "its images are missing or damaged" in host.log()
    assert result(host).split() == WHOLE


def test_a_processor_without_the_dumped_ones_instructions_is_refused(
    host: SnapshotHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.interrupt(counting(host, 10), "\n10\n") == 210
    open_gate(host, 10)
    monkeypatch.setattr(agent, "check_arguments", lambda: ["cpuinfo", "no-such-thing"])
    assert host.finish(counting(host, 10)) == 210
    assert "this host's processor lacks instructions" in host.log()
    assert host.finish(counting(host, 10)) == 0
    assert result(host).split() == WHOLE


def test_another_command_under_the_same_run_does_not_go_on_with_the_old_one(host: SnapshotHost) -> None:
    assert host.interrupt(counting(host, 10), "\n10\n") == 210
    open_gate(host, 10)
    assert host.finish(python("print('other')")) == 0
    assert "is not used: it is of another command" in host.log()
    assert host.lines()[-1] == "other"


def test_a_newer_checkpoint_wins_over_an_older_snapshot(host: SnapshotHost) -> None:
    program = """
import os, pathlib, sys, time
state = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"], "state")
first = int(state.read_text()) if state.exists() else 0
print("from", first, flush=True)
for i in range(first, 100):
    print(i, flush=True)
    if i % 20 == 15:
        state.with_suffix(".tmp").write_text(str(i)); state.with_suffix(".tmp").rename(state)
    while i % 20 == 10 and not os.path.exists(sys.argv[1] + str(i)): time.sleep(0.01)
"""
    command, fast = [*python(program), str(host.folder / "gate-")], {"SPOTBATCH_CHECKPOINT_SECONDS": "0.1"}
    open_gate(host, 10)
    assert host.interrupt(command, "\n30\n", **fast) == 210
    open_gate(host, 30)
    host.start(command, fast)
    manifests = host.unit / "checkpoints" / "manifests"
    until(lambda: [each for each in manifests.iterdir() if each.name.startswith("000002-")], seconds=60)
    host.kill()
    open_gate(host, 50)
    open_gate(host, 70)
    open_gate(host, 90)
    assert host.finish(command, **fast) == 0
    assert "is newer" in host.log()
    assert [line for line in host.log().splitlines() if line.startswith("from ")] == ["from 35"]
    assert host.lines()[-1] == "99"


def test_a_host_lost_after_a_restore_costs_nothing_but_the_time_since_the_snapshot(host: SnapshotHost) -> None:
    command = counting(host, 10, 30)
    assert host.interrupt(command, "\n10\n") == 210
    open_gate(host, 10)
    host.start(command)
    host.wait_for("\n30\n")
    host.kill()
    open_gate(host, 30)
    assert host.finish(command) == 0
    assert "goes on from its snapshot of attempt 1" in host.log()
    assert result(host).split() == WHOLE


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_restored_command_is_in_the_containers_cgroup(
    host: SnapshotHost, monkeypatch: pytest.MonkeyPatch, is_guarded: bool
) -> None:
    group = Path("/sys/fs/cgroup/pids/spotbatch-test-snapshots")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        assert host.interrupt(counting(host, 10), "\n10\n") == 210
        if not is_guarded:
            monkeypatch.setattr(agent, "_foreign_cgroups", lambda _: [])
        open_gate(host, 10)
        process = host.start(counting(host, 10), cgroup=group)
        assert process.wait(60) == (0 if is_guarded else 210)
        if not is_guarded:
            assert "it is outside the container's cgroup" in host.log()
    finally:
        host.close()
        deadline = time.monotonic() + 10
        while group.exists() and time.monotonic() < deadline:
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.05)


def test_output_that_fills_the_pipe_is_passed_on_exactly_once(host: SnapshotHost) -> None:
    command = [
        "bash",
        "-c",
        f"seq 1 400000; while [ ! -e {host.folder}/gate-1 ]; do sleep 0.02; seq 1 2000; done; seq 1 9",
    ]
    assert host.interrupt(command, "400000\n") == 210
    open_gate(host, 1)
    assert host.finish(command) == 0
    said = host.lines()
    assert said[:400000] == [str(i) for i in range(1, 400001)]
    rounds, rest = divmod(len(said) - 400000 - 9, 2000)
    assert rest == 0
    assert said[400000:] == [str(i) for i in range(1, 2001)] * rounds + [str(i) for i in range(1, 10)]
