"""Saving checkpoints: ours beside s5cmd, aws s3 sync, restic, boto3 (with CRT if installed), cp and rsync, in one run.

Run: python bench/checkpoint.py [--mib 1024] [--files 10000]. Peers are looked up on PATH and reported missing if
not found (`make bench` installs those of bench/peers.txt). S3 is moto's server in a process of its own on this
machine: it is slower than S3 and shares the same CPUs, so only ratios within one run are meaningful, and
ratios of first saves are pulled towards 1 by the server that all of them wait for.
"""

import argparse
import json
import math
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.checkpoints.upload import WIDTH
from spotbatch.runtime.checkpoints.writer import Writer
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.location import open_store
from spotbatch.runtime.storage.parallel import in_parallel

MIB = 1024 * 1024
BUCKET = "bench"
SMALL_BYTES = 4096
Save = Callable[[Path], None]
Peers = dict[str, Callable[[], Save]]

BOTO3 = """
import sys, time, pathlib, concurrent.futures as f, boto3
from boto3.s3.transfer import TransferConfig
top, prefix, send = pathlib.Path(sys.argv[1]), sys.argv[2], boto3.client("s3").upload_file
config = TransferConfig(preferred_transfer_client=sys.argv[3])
files = [p for p in top.rglob("*") if p.is_file()]
with f.ThreadPoolExecutor(16) as pool:
    jobs = [pool.submit(send, str(p), "bench", f"{prefix}/{p.relative_to(top)}", Config=config) for p in files]
    [job.result() for job in jobs]
"""


def make_large(folder: Path, mib: int) -> None:
    chance = random.Random(1)
    for number in range(64):
        (folder / f"shard-{number:02d}").write_bytes(chance.randbytes(mib * MIB // 64))


def make_small(folder: Path, count: int) -> None:
    chance = random.Random(2)
    for number in range(count):
        below = folder / f"{number % 100:02d}"
        below.mkdir(exist_ok=True)
        (below / f"part-{number:05d}").write_bytes(chance.randbytes(SMALL_BYTES))


def change_one_percent_of_each(folder: Path) -> None:
    chance = random.Random(3)
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        size = file.stat().st_size
        with file.open("r+b") as out:
            out.seek(chance.randrange(max(1, size - size // 100)))
            out.write(chance.randbytes(size // 100))


def change_one_file_in_a_hundred(folder: Path) -> None:
    chance = random.Random(4)
    for file in sorted(each for each in folder.rglob("*") if each.is_file())[::100]:
        file.write_bytes(chance.randbytes(file.stat().st_size))


def ours(url: str) -> Save:
    store = open_store(url)
    writer: list[Writer] = []

    def save(folder: Path) -> None:
        if not writer:
            writer.append(Writer(store, "checkpoints", folder))
            writer[0].claim(Limit(60))
        writer[0].save(Limit(600))
        writer[0].prune(Limit(60))

    return save


def command(*arguments: str) -> Save:
    def save(folder: Path) -> None:
        filled = [each.replace("{}", str(folder)) for each in arguments]
        subprocess.run(filled, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    return save


def tool(name: str) -> str | None:
    return shutil.which(name)


def restic(repository: str) -> Save:
    """Its first save is of a new repository, which is not part of the time."""
    os.environ.setdefault("RESTIC_PASSWORD", "bench")
    command("restic", "--quiet", "-r", repository, "init")(Path())
    return command("restic", "--quiet", "-r", repository, "backup", "{}")


def s3_peers() -> Peers:
    peers: Peers = {"spotbatch": lambda: ours(f"s3://{BUCKET}/ours")}
    if (s5cmd := tool("s5cmd")) is not None:
        peers["s5cmd sync"] = lambda: command(s5cmd, "sync", "{}/", f"s3://{BUCKET}/s5cmd/")
    if (aws := tool("aws")) is not None:
        peers["aws s3 sync"] = lambda: command(aws, "s3", "sync", "--quiet", "{}", f"s3://{BUCKET}/aws")
    if tool("restic") is not None:
        peers["restic"] = lambda: restic(f"s3:{os.environ['AWS_ENDPOINT_URL']}/{BUCKET}/restic")
    python = str(Path(s5cmd).with_name("python")) if s5cmd is not None else sys.executable
    for client in ("classic", "crt"):
        peers[f"boto3 {client}"] = lambda client=client: command(python, "-c", BOTO3, "{}", f"b-{client}", client)  # type: ignore[misc]
    return peers


def folder_peers(top: Path) -> Peers:
    peers: Peers = {"spotbatch": lambda: ours((top / "ours").as_uri())}
    peers["cp -r"] = lambda: command("cp", "-r", "{}", str(top / "cp"))
    if tool("rsync") is not None:
        peers["rsync -a"] = lambda: command("rsync", "-a", "{}/", str(top / "rsync"))
    if tool("restic") is not None:
        peers["restic"] = lambda: restic(str(top / "restic"))
    return peers


@contextmanager
def moto() -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    try:
        make_bucket(port)
        yield
    finally:
        server.terminate()
        server.wait(10)


def make_bucket(port: int) -> None:
    import http.client

    give_up = time.monotonic() + 30
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("PUT", f"/{BUCKET}", headers={"Host": "s3.amazonaws.com"})
            assert connection.getresponse().status == 200
        except OSError:
            assert time.monotonic() < give_up, "moto's server did not start"
            time.sleep(0.1)
        else:
            return


def timed(save: Save, folder: Path) -> float:
    began = time.perf_counter()
    save(folder)
    return time.perf_counter() - began


def compare(title: str, make: Callable[[Path], None], change: Callable[[Path], None], peers: Peers) -> float:
    """Each peer on a fresh copy of the same data: the first save, and the save after the change.

    Returns the seconds of our first save.
    """
    print(f"\n{title}\n{'':14} {'first save':>12} {'vs best':>8} {'after change':>14} {'vs ours':>8}")
    found: dict[str, tuple[float, float]] = {}
    for name, begin in peers.items():
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top, "checkpoint")
            folder.mkdir()
            make(folder)
            save = begin()
            try:
                first = timed(save, folder)
                if not name.startswith("boto3"):  # it does not know what has changed
                    change(folder)
                found[name] = (first, math.nan if name.startswith("boto3") else timed(save, folder))
            except subprocess.CalledProcessError as error:
                print(f"{name:14} failed: {error.stderr.decode(errors='replace').strip()[-150:]}")
    best = min(first for name, (first, _) in found.items() if name != "spotbatch")
    mine = found["spotbatch"][1]
    for name, (first, second) in found.items():
        after = "" if math.isnan(second) else f"{second:12.2f} s {second / mine:7.1f}x"
        print(f"{name:14} {first:10.2f} s {first / best:7.2f}x {after}")
    return found["spotbatch"][0]


def restoring(title: str, url: str, first_seconds: float) -> None:
    with tempfile.TemporaryDirectory() as top:
        began = time.perf_counter()
        found = restore(open_store(url), "checkpoints", Path(top), Limit(600))
        seconds = time.perf_counter() - began
        assert found.manifest is not None
        print(
            f"{title}: {found.manifest.size / MIB:.0f} MiB in {found.manifest.files} files, {seconds:.2f} s: "
            f"{seconds / first_seconds:.2f}x of the first save (the target: 2)"
        )


STATE = """
import os, pathlib, random, sys, time
folder, size = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"]), int(sys.argv[1]) // 16
chance = random.Random(int(sys.argv[2]))
for turn in range(2):
    for n in range(16):
        (folder / "new.tmp").write_bytes(chance.randbytes(size))
        (folder / "new.tmp").rename(folder / f"shard-{n}")
    if turn == 0:
        from spotbatch.runtime import checkpoint
        assert checkpoint.save(300)
pathlib.Path("changed").touch()
time.sleep(600)
"""

WORK = """
import os, pathlib, sys, time
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
end, saved = time.process_time() + float(sys.argv[1]), 0.0
while time.process_time() < end:
    sum(range(10_000))
    if time.monotonic() - saved > 1:
        (folder / "new.tmp").write_bytes(os.urandom(1 << 20))
        (folder / "new.tmp").rename(folder / "state")
        saved = time.monotonic()
"""


def spotrun(folder: Path, url: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    ours = {
        "SPOTBATCH_ARTIFACTS_URL": url,
        "SPOTBATCH_RUN_ID": "bench",
        "SPOTBATCH_NOTICE_FILE": str(folder / "notice"),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        **variables,
    }
    line = [sys.executable, "-m", "spotbatch.runtime", "--", sys.executable, "-c", *arguments]
    return subprocess.Popen(line, cwd=folder, env={**os.environ, **ours}, stderr=subprocess.DEVNULL)


def notice_to_checkpoint(title: str, url: str, mib: int, target_seconds: Callable[[float], float]) -> None:
    """From the notice to the exit, compared with the bare time to send the same number of bytes."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        running = spotrun(folder, f"{url}/notice", STATE, str(mib * MIB), "1", SPOTBATCH_CHECKPOINT_SECONDS="3600")
        give_up = time.monotonic() + 300
        while not (folder / "changed").exists():
            assert running.poll() is None, "the command ended early"
            assert time.monotonic() < give_up, "the command did not get ready"
            time.sleep(0.02)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 120))
        began = time.perf_counter()
        (folder / "notice").write_text(json.dumps({"action": "terminate", "time": at}), encoding="ascii")
        code = running.wait(300)
        seconds = time.perf_counter() - began
        assert code == 210, f"spotrun ended with {code}"
    bare = bare_sending(f"{url}/bare", mib)
    print(
        f"{title}: notice to published checkpoint and exit, {mib} MiB changed: {seconds:.2f} s; "
        f"sending {mib} MiB and nothing else: {bare:.2f} s ({mib / bare:.0f} MiB/s): "
        f"{seconds / bare:.2f}x of what bandwidth allows (the target: {target_seconds(bare):.2f} s)"
    )


def bare_sending(url: str, mib: int) -> float:
    store, data = open_store(url), os.urandom(8 * MIB)
    began = time.perf_counter()
    in_parallel(WIDTH, range(mib // 8), lambda number: store.put(f"{number}", data))
    return time.perf_counter() - began


def overhead(seconds: float) -> None:
    """CPU that spotrun itself takes while a command computes and writes 1 MiB of state each second, saved every 5 s."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        url = (folder / "store").as_uri()
        running = spotrun(folder, url, WORK, str(seconds), SPOTBATCH_CHECKPOINT_SECONDS="5")
        assert running.wait(seconds * 20 + 60) == 0
        all_of_it = resource.getrusage(resource.RUSAGE_CHILDREN)
        record = json.loads((folder / "store/runs/bench/job/attempts/01.json").read_bytes())
    own = all_of_it.ru_utime + all_of_it.ru_stime - record["cpu_seconds"]
    print(
        f"CPU of spotrun beside {record['cpu_seconds']:.1f} s of the command's: {own:.2f} s "
        f"({own / record['cpu_seconds']:.2%}), of which about 0.1 s once, for its start"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the large checkpoint")
    parser.add_argument("--files", type=int, default=10_000, help="number of small files")
    parser.add_argument(
        "--work", type=float, default=30.0, help="CPU seconds of the command whose overhead is measured"
    )
    chosen = parser.parse_args()
    missing = [name for name in ("s5cmd", "aws", "rsync", "restic") if tool(name) is None]
    print(f"{os.cpu_count()} CPUs; not installed here: {', '.join(missing) or 'nothing'}")
    overhead(chosen.work)  # first: it counts the CPU of all children so far
    large, small = f"{chosen.mib} MiB in 64 files", f"{chosen.files} files of 4 KiB"

    def makes_large(folder: Path) -> None:
        make_large(folder, chosen.mib)

    def makes_small(folder: Path) -> None:
        make_small(folder, chosen.files)

    with tempfile.TemporaryDirectory() as top:
        first = compare(
            f"folder: {large}, then 1 % of each", makes_large, change_one_percent_of_each, folder_peers(Path(top))
        )
        restoring("restore from the folder", Path(top, "ours").as_uri(), first)
        notice_to_checkpoint("folder", Path(top, "n").as_uri(), 256, lambda _: 0.35)
    with tempfile.TemporaryDirectory() as top:
        peers = folder_peers(Path(top))
        first = compare(f"folder: {small}, then 1 % of them", makes_small, change_one_file_in_a_hundred, peers)
        restoring("restore from the folder", Path(top, "ours").as_uri(), first)
    with moto():
        first = compare(f"S3 (moto): {large}, then 1 % of each", makes_large, change_one_percent_of_each, s3_peers())
        restoring("restore from S3 (moto)", f"s3://{BUCKET}/ours", first)
        notice_to_checkpoint("S3 (moto)", f"s3://{BUCKET}/n", 256, lambda bare: 1.5 * bare + 0.3)
    with moto():
        first = compare(f"S3 (moto): {small}, then 1 % of them", makes_small, change_one_file_in_a_hundred, s3_peers())
        restoring("restore from S3 (moto)", f"s3://{BUCKET}/ours", first)


if __name__ == "__main__":
    main()
