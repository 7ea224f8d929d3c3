"""Many small files: memory, CPU and time of saves and restores, in one process that does nothing else.

Run: python bench/checkpoint_many.py [--files 200000]. The store is a folder beside the files; `cp -r` of the same files
is the peer. Peak memory is sampled from /proc every 10 ms. Only ratios within one run are meaningful on a machine
with other load.
"""

import argparse
import os
import random
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.checkpoints.writer import Writer
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.location import open_store

T = TypeVar("T")
CHANGED = 100
FILES_A_FOLDER = 1000


class Peak:
    """The peak resident memory since the last query."""

    def __init__(self) -> None:
        self._most = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def take(self) -> int:
        most, self._most = self._most, 0
        return most

    def _watch(self) -> None:
        while True:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self._most = max(self._most, pages * os.sysconf("SC_PAGE_SIZE") >> 20)
            time.sleep(0.01)


def name_of(folder: Path, number: int) -> Path:
    return folder / f"{number // FILES_A_FOLDER:04d}" / f"part-{number:07d}"


def make(folder: Path, count: int) -> None:
    filler = random.Random(1).randbytes(1016)
    for number in range(count):
        file = name_of(folder, number)
        if number % FILES_A_FOLDER == 0:
            file.parent.mkdir(parents=True)
        file.write_bytes(filler + struct.pack("q", number))


def change(folder: Path, count: int) -> None:
    chance = random.Random(2)
    for number in chance.sample(range(count), min(CHANGED, count)):
        beside = folder / "new.tmp"
        beside.write_bytes(chance.randbytes(1024))
        beside.replace(name_of(folder, number))


def walk(folder: Path) -> None:
    for top, _, names in os.walk(folder):
        for name in names:
            os.lstat(f"{top}/{name}")


def timed(title: str, peak: Peak, work: Callable[[], T]) -> T:
    peak.take()
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{title:34} {wall:8.2f} s {cpu:8.2f} s CPU {peak.take():6} MiB at most", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200_000)
    count = parser.parse_args().files
    peak = Peak()
    with tempfile.TemporaryDirectory() as top:
        folder, back, url = Path(top, "checkpoint"), Path(top, "back"), Path(top, "store").as_uri()
        timed(f"make {count} files of 1 KiB", peak, lambda: make(folder, count))
        timed("cp -r", peak, lambda: subprocess.run(["cp", "-r", folder, f"{top}/copy"], check=True))
        timed("a bare walk with lstat", peak, lambda: walk(folder))
        writer = Writer(open_store(url), "c", folder, exclude=("*.tmp",), scratch=Path(top))
        writer.claim(Limit(60))
        timed("first save", peak, lambda: writer.save(Limit(6000)))
        timed("save, nothing changed", peak, lambda: writer.save(Limit(6000)))
        change(folder, count)
        timed(f"save after {CHANGED} changed", peak, lambda: writer.save(Limit(6000)))
        back.mkdir()
        restored = timed("restore", peak, lambda: restore(open_store(url), "c", back, Limit(6000), Path(top)))
        again = Writer(open_store(url), "c", back, scratch=Path(top))
        again.claim(Limit(60))
        again.start_from(restored)
        timed("first save after the restore", peak, lambda: again.save(Limit(6000)))


if __name__ == "__main__":
    main()
