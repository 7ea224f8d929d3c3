"""Programs that keep their state in their own ways, each killed again and again, and ended with the exact result."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.runtime_world import Spot, record, spot, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Spot]:
    with spot(tmp_path, SPOTBATCH_CHECKPOINT_SECONDS="0.3") as made:
        yield made


def saves(world: Spot) -> int:
    try:
        return int(record(world.folder, len(world.runs))["checkpoints_saved"])
    except (FileNotFoundError, ValueError):
        return 0


def killed_and_ended(world: Spot, *command: str, kills: int = 4, variables: dict[str, str] | None = None) -> str:
    """The output of the attempt that ends well, after sudden deaths and a graceful one."""
    for number in range(kills):
        run = world.start(*command, **(variables or {}))
        wait_for(lambda run=run: saves(world) >= 1 or run.process.poll() is not None, "a save")  # type: ignore[misc]
        assert run.process.poll() is None, run.text()
        if number == kills - 1:
            run.terminate()
            assert run.wait() == 210, run.text()
        else:
            run.kill()
    last = world.start(*command, **(variables or {}))
    assert last.wait(300) == 0, last.text()
    assert "resumed from checkpoint" in last.text()
    return last.text()


MEMMAP = """
import numpy, os, pathlib, time
path = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"], "state.npy")
rows = 400
if not path.exists():
    numpy.lib.format.open_memmap(path, mode="w+", dtype="int64", shape=(rows + 1, 512)).flush()
state = numpy.lib.format.open_memmap(path, mode="r+")
# row 0 counts the rows that are done; a row is written before it is counted, so every moment can be gone on from
for n in range(int(state[0, 0]) + 1, rows + 1):
    state[n] = (state[n - 1] if n > 1 else 0) * 31 + n + numpy.arange(512)
    state[0, 0] = n
    time.sleep(0.02)
print("result", int(state[1:].sum()))
"""


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_numpy_memmap(world: Spot, where: str) -> None:
    import numpy

    shared = Path("/dev/shm", world.folder.name)
    if where == "memory" and not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no tmpfs at /dev/shm")
    scratch = {"SPOTBATCH_SCRATCH_DIR": str(shared)} if where == "memory" else {}
    try:
        text = killed_and_ended(world, sys.executable, "-c", MEMMAP, variables=scratch)
    finally:
        shutil.rmtree(shared, ignore_errors=True)
    row, total = numpy.zeros(512, dtype="int64"), 0
    for n in range(1, 401):
        row = row * 31 + n + numpy.arange(512)
        total += int(row.sum())
    assert f"result {(total + 2**63) % 2**64 - 2**63}" in text


GIT = """
cd "$SPOTBATCH_CHECKPOINT_DIR"
[ -d work/.git ] || git init -q work
cd work
rm -f .git/index.lock .git/HEAD.lock .git/refs/heads/*.lock   # as git says to do after a crash
git reset -q --hard 2>/dev/null
n=$(git rev-list --count HEAD 2>/dev/null || echo 0)
while [ "$n" -lt 250 ]; do
    n=$((n + 1)); echo "line $n" >> file; git add file
    GIT_AUTHOR_DATE="@$n +0000" GIT_COMMITTER_DATE="@$n +0000" git -c user.name=a -c user.email=b@c commit -qm "step $n"
    sleep 0.02
done
git fsck --strict >/dev/null 2>&1 || { echo "damaged"; exit 1; }
echo "result $(git rev-parse HEAD) $(sha256sum < file)"
"""


def test_git(world: Spot) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    text = killed_and_ended(world, "sh", "-c", GIT, variables={"SPOTBATCH_CHECKPOINT_EXCLUDE": "*.swp"})
    alone = world.folder / "alone"
    alone.mkdir()
    told = subprocess.run(
        ["sh", "-c", GIT],
        env={**os.environ, "SPOTBATCH_CHECKPOINT_DIR": str(alone)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() in text
    assert hashlib.sha256(b"".join(b"line %d\n" % n for n in range(1, 251))).hexdigest() in text


EVENTS = """
import os, pathlib, struct, time, zlib
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
state = folder / "step"
step = int(state.read_text()) if state.exists() else 0
out = (folder / f"events.out.{time.time_ns()}").open("wb")     # as tensorboardX: one file an attempt, open all the time
while step < 1500:
    step += 1
    data = b"loss %d" % step
    out.write(struct.pack("<Q", len(data)) + data + struct.pack("<I", zlib.crc32(data))); out.flush()
    (folder / "step.tmp").write_text(str(step)); (folder / "step.tmp").rename(state)
    time.sleep(0.02)
out.close()
for file in sorted(folder.glob("events.out.*")):               # whole records, and at most half of one at the end
    data = file.read_bytes()
    while len(data) >= 8 and len(data) >= 12 + struct.unpack("<Q", data[:8])[0]:
        size, = struct.unpack("<Q", data[:8])
        assert zlib.crc32(data[8 : 8 + size]) == struct.unpack("<I", data[8 + size : 12 + size])[0]
        data = data[12 + size :]
print("result", step)
"""


def test_a_writer_of_events_that_is_open_all_the_time(world: Spot) -> None:
    assert "result 1500" in killed_and_ended(world, sys.executable, "-c", EVENTS)
