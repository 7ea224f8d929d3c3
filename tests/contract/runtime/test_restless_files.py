"""Files that never come to rest: open, mapped, unreadable, removed. A save has what is whole and says what not."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.location import open_store
from tests.contract.runtime_world import Spot, record, spot, wait_for
from tests.rights import without_roots_rights

CHECKPOINTS = "runs/work/job/checkpoints"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Spot]:
    with spot(tmp_path) as made:
        yield made


def python(text: str) -> tuple[str, str, str]:
    return sys.executable, "-c", text


def manifests(world: Spot) -> int:
    folder = world.folder / "store" / CHECKPOINTS / "manifests"
    return sum(not each.name.startswith(".") for each in folder.iterdir()) if folder.exists() else 0


def newest(world: Spot, name: str = "restored") -> Path:
    """The newest checkpoint, restored."""
    folder = world.folder / name
    folder.mkdir()
    assert restore(open_store(world.url), CHECKPOINTS, folder, Limit(30)).manifest is not None
    return folder


MAPPED = """
import ctypes, os, struct
from spotbatch.runtime import checkpoint
libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
path = checkpoint.folder / "s"
if not path.exists(): path.write_bytes(bytes(1 << 20))
fd = os.open(path, os.O_RDWR); at = libc.mmap(None, 1 << 20, 3, 1, fd, 0); os.close(fd)
memory = (ctypes.c_char * (1 << 20)).from_address(at); n, = struct.unpack_from("q", memory, 0); print(n, flush=True)
if n: os._exit(0)
for n in range(1, 6): struct.pack_into("q", memory, 0, n); assert checkpoint.save()
os.system(f"kill -9 {os.getppid()} {os.getpid()}")
"""


@pytest.mark.parametrize("scratch", ["disk", "memory"])
def test_what_is_written_through_a_map_whose_file_is_closed_is_stored_when_save_says_so(
    world: Spot, scratch: str
) -> None:
    folder = world.folder / "scratch" if scratch == "disk" else Path("/dev/shm", world.folder.name)
    if scratch == "memory" and not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no tmpfs at /dev/shm")
    for _ in range(2):
        run = world.start(*python(MAPPED), SPOTBATCH_CHECKPOINT_SECONDS="600", SPOTBATCH_SCRATCH_DIR=str(folder))
        run.wait()
    assert world.runs[1].text().splitlines()[-1] == "5"


def test_a_map_that_is_unmapped_between_two_saves_has_left_nothing_unsaved(world: Spot) -> None:
    script = """
import mmap, os
from spotbatch.runtime import checkpoint
path = checkpoint.folder / "s"
path.write_bytes(bytes(1 << 20))
with path.open("r+b") as file: memory = mmap.mmap(file.fileno(), 0)
memory[0] = 1; assert checkpoint.save()
memory[0] = 2; memory.close()       # the page was dirty already: no time of the file changes
assert checkpoint.save()
os.system(f"kill -9 {os.getppid()} {os.getpid()}")
"""
    world.start(*python(script), SPOTBATCH_CHECKPOINT_SECONDS="600").wait()
    assert (newest(world) / "s").read_bytes()[0] == 2


def test_a_file_that_is_mapped_and_open_does_not_hold_up_a_save(world: Spot) -> None:
    script = """
import mmap, time
from spotbatch.runtime import checkpoint
path = checkpoint.folder / "s"
path.write_bytes(bytes(1 << 20))
file = path.open("r+b"); memory = mmap.mmap(file.fileno(), 0)
for n in range(1, 4):
    memory[0] = n; began = time.monotonic()
    print(checkpoint.save(), time.monotonic() - began < 20, flush=True)
time.sleep(60)
"""
    run = world.start(*python(script), SPOTBATCH_CHECKPOINT_SECONDS="600")
    wait_for(lambda: run.text().count("True True") == 3, "three saves")
    run.kill()
    assert (newest(world) / "s").read_bytes()[0] == 3


STEPS = """
import os, pathlib, sys, time
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
state = folder / "state"
n = int(state.read_text()) if state.exists() else 0
print("start", n, file=sys.stderr, flush=True)
{prepare}
while n < 100000:
    n += 1
    {work}
    (folder / "x.tmp").write_text(str(n)); (folder / "x.tmp").rename(state)
    if n % 10 == 0: print("at", n, file=sys.stderr, flush=True)
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("prepare", "work"),
    [
        ('out = (folder / "events").open("wb")', "out.write(b'%020d' % n); out.flush()"),  # as tensorboardX
        ('out = (folder / "events").open("r+b" if n else "w+b"); out.seek(0, 2)', "out.write(b'%020d' % n)"),
        ("os.dup2(os.open(folder / 'run.log', os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 1)", "print(n, flush=True)"),
        (
            "(folder / 'big').write_bytes(bytes(4096)); out = (folder / 'big').open('r+b')",
            "os.pwrite(out.fileno(), b'x' * n, 0)",
        ),
    ],
    ids=["stream", "appended through r+b", "log", "database"],
)
def test_a_file_that_stays_open_costs_no_other_file_its_save(world: Spot, prepare: str, work: str) -> None:
    script = STEPS.format(prepare=prepare, work=work)
    for turn in range(3):
        run = world.start(*python(script), SPOTBATCH_STOP_SECONDS="8", SPOTBATCH_GRACE_SECONDS="1")
        wait_for(lambda run=run: "at " in run.text(), "some steps")  # type: ignore[misc]
        before = record_saves(world)
        wait_for(lambda before=before: record_saves(world) > before, "a save")  # type: ignore[misc]
        run.terminate()
        assert run.wait() == 210
        assert int((newest(world, f"restored-{turn}") / "state").read_text()) > 0
    starts = [int(run.text().split("start ")[1].split()[0]) for run in world.runs if "start " in run.text()]
    assert starts == sorted(starts)
    assert starts[-1] > 0


def record_saves(world: Spot) -> int:
    try:
        return int(record(world.folder, len(world.runs))["checkpoints_saved"])
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


DATABASE = """
import os, pathlib, sqlite3, sys, time
path = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"], "work.sqlite")
db = sqlite3.connect(path, isolation_level=None)
db.execute("PRAGMA journal_mode=WAL"); db.execute("PRAGMA wal_autocheckpoint=50")
db.execute("CREATE TABLE IF NOT EXISTS done (n INTEGER PRIMARY KEY, square INTEGER)")
db.execute("CREATE TABLE IF NOT EXISTS total (one INTEGER PRIMARY KEY, sum INTEGER)")
n = db.execute("SELECT coalesce(max(n), 0) FROM done").fetchone()[0]
print("start", n, db.execute("PRAGMA integrity_check").fetchone()[0], flush=True)
end = int(sys.argv[1])
while n < end:
    n += 1
    db.execute("BEGIN"); db.execute("INSERT INTO done VALUES (?, ?)", (n, n * n))
    db.execute("INSERT INTO total VALUES (1, ?) ON CONFLICT DO UPDATE SET sum = sum + ?", (n * n, n * n))
    db.execute("COMMIT")
    if n % 50 == 0: print("at", n, flush=True)
    time.sleep(0.004)
sums = [db.execute(f"SELECT {each}").fetchone()[0] for each in ("sum FROM total", "sum(square) FROM done")]
print("sum", *sums)
"""


def test_a_database_that_commits_all_the_time_is_saved_and_goes_on_after_sudden_deaths(world: Spot) -> None:
    starts = []
    for _ in range(3):
        run = world.start(*python(DATABASE), "100000", SPOTBATCH_CHECKPOINT_SECONDS="0.5")
        wait_for(lambda: record_saves(world) >= 2, "two saves")
        run.kill()
        words = run.text().split("start ")[1].split()
        assert words[1] == "ok"
        starts.append(int(words[0]))
    assert starts[0] == 0 < starts[1] < starts[2]
    code, text = world.run(*python(DATABASE), str(starts[2] + 300))
    assert code == 0
    last = max(starts[2] + 300, int(text.split("start ")[1].split()[0]))
    total = sum(n * n for n in range(1, last + 1))
    assert f"sum {total} {total}" in text


def test_one_file_that_cannot_be_read_costs_no_other_file_its_save_and_is_said(world: Spot) -> None:
    script = STEPS.format(prepare="(folder / 'secret').write_text('x'); (folder / 'secret').chmod(0)", work="pass")
    run = world.start(*python(script), wrapper=without_roots_rights())
    wait_for(lambda: manifests(world) > 0, "a checkpoint")
    wait_for(lambda: any("secret" in text for text in record(world.folder, 1)["warnings"]), "the warning")
    run.kill()
    assert (newest(world) / "state").exists()
    assert "secret (it cannot be read" in run.text()


def test_a_checkpoint_folder_that_is_gone_is_not_an_empty_one(world: Spot) -> None:
    """The program removes it to make it anew, moves it away, or puts a link in its place; then the host is lost."""
    script = """
import os, pathlib, shutil, sys, time
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
print("found", sorted(each.name for each in folder.iterdir()), flush=True)
(folder / "state").write_text("1")
if sys.argv[1] != "end":
    from spotbatch.runtime import checkpoint
    assert checkpoint.save()
    if sys.argv[1] == "removed": shutil.rmtree(folder)
    if sys.argv[1] == "anew": shutil.rmtree(folder); folder.mkdir()
    if sys.argv[1] == "moved": folder.rename(folder.with_name("aside"))
    if sys.argv[1] == "link": folder.rename(folder.with_name("aside")); folder.symlink_to("nowhere")
    print("away", flush=True)
    time.sleep(60)
"""
    for way in ("removed", "anew", "moved", "link"):
        run = world.start(*python(script), way)
        run.wait_for_text("away")
        wait_for(lambda run=run: "the last checkpoint stays" in run.text(), "that it is said")  # type: ignore[misc]
        run.kill()
        found = newest(world, f"restored-{way}")
        assert (found / "state").read_text() == "1"
    code, text = world.run(*python(script), "end")
    assert (code, "found ['state']" in text) == (0, True)


def test_a_folder_that_is_made_anew_is_saved_as_soon_as_something_is_in_it(world: Spot) -> None:
    script = """
import os, pathlib, shutil, time
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
from spotbatch.runtime import checkpoint
(folder / "old").write_text("1"); assert checkpoint.save()
shutil.rmtree(folder); folder.mkdir(); (folder / "new").write_text("2")
assert checkpoint.save()
print("saved", flush=True); time.sleep(60)
"""
    run = world.start(*python(script), SPOTBATCH_CHECKPOINT_SECONDS="600")
    run.wait_for_text("saved")
    run.kill()
    assert [each.name for each in newest(world).iterdir()] == ["new"]


def test_a_file_that_is_half_written_when_the_command_is_killed_costs_no_other_file_its_save(world: Spot) -> None:
    script = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
(folder / "model").write_text("whole" * 100)
(folder / "step").write_text("1")
from spotbatch.runtime import checkpoint
assert checkpoint.save()
out = (folder / "model").open("w"); out.write("half"); out.flush()
(folder / "step").write_text("2")
print("half", flush=True); time.sleep(60)
"""
    run = world.start(*python(script), SPOTBATCH_CHECKPOINT_SECONDS="600", SPOTBATCH_GRACE_SECONDS="0.5")
    run.wait_for_text("half")
    run.terminate()
    assert run.wait() == 210
    found = newest(world)
    assert ((found / "model").read_text(), (found / "step").read_text()) == ("whole" * 100, "2")
    assert any("model" in text for text in record(world.folder, 1)["warnings"])
