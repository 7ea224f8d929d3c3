"""Programs that keep their state in their own ways, each killed again and again, and ended with the exact result.

Those of Debian (restic, samtools, ffmpeg) and tensorboardX need not be there: a test that lacks its program is skipped
with the name of what to install.
"""

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


def alone(world: Spot, *command: str) -> str:
    """What the same command prints last where nothing happens to it."""
    folder = world.folder / "alone"
    folder.mkdir()
    environ = {**os.environ, "SPOTBATCH_CHECKPOINT_DIR": str(folder)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install {program})")


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
    needs("git")
    text = killed_and_ended(world, "sh", "-c", GIT, variables={"SPOTBATCH_CHECKPOINT_EXCLUDE": "*.swp"})
    assert alone(world, "sh", "-c", GIT) in text
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


SQLITE = """
import os, pathlib, sqlite3, sys, time
db = sqlite3.connect(pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"], "state.db"), isolation_level=None)
assert db.execute("pragma journal_mode=wal").fetchone() == ("wal",)
db.execute("create table if not exists t (n integer primary key, chain integer)")
n, chain = db.execute("select n, chain from t order by n desc limit 1").fetchone() or (0, 7)
while n < 1500:
    n += 1
    chain = (chain * 31 + n) % 1000003
    db.execute("insert into t values (?, ?)", (n, chain))     # one transaction each, every few milliseconds
    time.sleep(0.004)
assert db.execute("pragma integrity_check").fetchone() == ("ok",)
print("result", db.execute("select count(*), sum(n), sum(chain) from t").fetchone())
"""


def test_sqlite_in_wal_mode_that_commits_every_few_milliseconds(world: Spot) -> None:
    assert alone(world, sys.executable, "-c", SQLITE) in killed_and_ended(world, sys.executable, "-c", SQLITE)


TENSORBOARD = """
import os, pathlib, struct, time
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"], "events")

def steps():
    found = set()
    for file in folder.glob("*"):
        data = file.read_bytes()
        while len(data) >= 12 and len(data) >= 16 + struct.unpack("<Q", data[:8])[0]:  # the last one may be a half
            size, = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            found |= {event.step} if event.HasField("summary") else set()
            data = data[16 + size :]
    return found

before = steps()      # a thread of the writer's writes them in order, some time after they are added
assert before == set(range(1, len(before) + 1)), sorted(before)
print("begins after", len(before), flush=True)
writer = SummaryWriter(str(folder), flush_secs=1)
for step in range(len(before) + 1, 401):
    writer.add_scalar("loss", 1 / step, step)
    writer.flush()
    time.sleep(0.02)
writer.close()
print("result", len(steps()), sum(steps()))
"""


def test_tensorboardx(world: Spot) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed (pip install tensorboardX)")
    # it keeps one file open for writing only: by itself that is saved once it is open for 30 s (docs/runtime.md)
    rule = {"SPOTBATCH_CHECKPOINT_OPEN_FILES": "frozen"}
    assert "result 400 80200" in killed_and_ended(world, sys.executable, "-c", TENSORBOARD, variables=rule)


RESTIC = """
cd "$SPOTBATCH_CHECKPOINT_DIR"
export RESTIC_PASSWORD=x RESTIC_CACHE_DIR="$PWD/../cache" RESTIC_REPOSITORY="$PWD/repository"
work="$PWD/../work"; mkdir -p "$work"
[ -f repository/config ] || { rm -rf repository; restic init -q || exit 1; }
restic unlock -q --remove-all || exit 1
n=$(restic snapshots --json | grep -o '"step-[0-9]*"' | tr -dc '0-9\\n' | sort -n | tail -n 1)
while [ "${n:-0}" -lt 14 ]; do
    n=$((${n:-0} + 1)); seq 1 $((n * 1000)) > "$work/file"
    restic backup -q --tag "step-$n" "$work/file" || exit 1
done
restic check -q --read-data || exit 1
for n in $(seq 14); do restic dump -q --tag "step-$n" latest "$work/file"; done | sha256sum | sed 's/^/result /'
"""


def test_restic(world: Spot) -> None:
    needs("restic")
    expected = hashlib.sha256(b"".join(b"%d\n" % k for n in range(1, 15) for k in range(1, n * 1000 + 1))).hexdigest()
    assert f"result {expected}" in killed_and_ended(world, "sh", "-c", RESTIC)


SAMTOOLS = """
cd "$SPOTBATCH_CHECKPOINT_DIR"
for n in $(seq 10); do
    [ -e sorted-$n.bam ] && continue                # it writes under the last name: what is there must be whole
    awk -v n=$n 'BEGIN { srand(n); printf "@SQ\\tSN:c\\tLN:99999999\\n"
        for (k = 0; k < 40000; k++)
            printf "r%d.%d\\t0\\tc\\t%d\\t9\\t4M\\t*\\t0\\t0\\tACGT\\tFFFF\\n", n, k, 1 + int(rand() * 9e7) }' |
        samtools sort --no-PG -m 1M -T "$PWD/.temporary.tmp" -o sorted-$n.bam - 2>/dev/null || exit 1
    sleep 0.3
done
samtools quickcheck sorted-*.bam || { echo "damaged"; exit 1; }
samtools merge --no-PG -f -o - $(seq -f 'sorted-%g.bam' 10) | samtools view --no-PG - | sha256sum | sed 's/^/result /'
"""


def test_samtools_sort_that_writes_in_place(world: Spot) -> None:
    needs("samtools")
    assert alone(world, "sh", "-c", SAMTOOLS) in killed_and_ended(world, "sh", "-c", SAMTOOLS)


FFMPEG = """
cd "$SPOTBATCH_CHECKPOINT_DIR"
n=$(ls | grep -c '^part-')                          # all but the last one are whole
[ "$n" -eq 0 ] || n=$((n - 1))
ffmpeg -loglevel error -nostdin -y -readrate 3 -f lavfi -i "testsrc2=size=160x120:rate=10:duration=40" \\
    -vf "trim=start=$n,setpts=PTS-STARTPTS" -c:v ffv1 -g 1 -flags bitexact -fflags bitexact \\
    -f segment -segment_time 1 -segment_start_number "$n" -reset_timestamps 1 part-%03d.mkv || exit 1
for part in part-*.mkv; do ffmpeg -loglevel error -nostdin -i "$part" -f framemd5 - || exit 1; done |
    grep -v '^#' | sed 's/.*, //' > ../frames
echo "result $(grep -c . ../frames) $(sha256sum < ../frames)"
"""


def test_ffmpeg_that_writes_segments(world: Spot) -> None:
    needs("ffmpeg")
    expected = alone(world, "sh", "-c", FFMPEG)
    assert expected.startswith("result 400 ")
    assert expected in killed_and_ended(world, "sh", "-c", FFMPEG)


TRAINING = """
import hashlib, numpy, os, pickle, time
from sklearn.linear_model import SGDClassifier
from spotbatch.runtime import checkpoint
found = checkpoint.read("model")
step, model = pickle.loads(found) if found else (0, SGDClassifier(random_state=3))
while step < 120:
    chance = numpy.random.default_rng(step)
    rows = chance.normal(size=(500, 20))
    model.partial_fit(rows, rows.sum(axis=1) > 0, classes=[False, True])
    step += 1
    checkpoint.write("model", pickle.dumps((step, model)))
    time.sleep(0.03)
print("result", hashlib.sha256(model.coef_.tobytes()).hexdigest(), model.t_)
"""


def test_a_scikit_learn_training(world: Spot) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (pip install scikit-learn)")
    expected = alone(world, sys.executable, "-c", TRAINING)
    assert expected in killed_and_ended(world, sys.executable, "-c", TRAINING, kills=3)
