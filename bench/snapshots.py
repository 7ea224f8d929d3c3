"""How long a dump and a restore take beside `cp` of the same bytes, for 0.1, 1 and 4 GiB that do not compress.

The process is the only one of a pid namespace, as a job's is. Frozen is the time from the first look at its processes
until the dump is complete: it stands still meanwhile. Stored is what the agent does before a job can send the images:
it signs them. Restored is from the images on disk, checked, until the process runs. `cp` copies the same number of
bytes to the same disk, right after that, and does not force them onto it either.

Run as root: python bench/snapshots.py [--gib 0.1 1 4].
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spotbatch.snapshots import check
from spotbatch.snapshots.install import criu_folder
from tests.snapshot_host import SnapshotHost

PROGRAM = """
import os, sys, time
held = bytearray(int(sys.argv[1]))
for at in range(0, len(held), 1 << 20): held[at : at + (1 << 20)] = os.urandom(1 << 20)
print("ready", flush=True)
while not os.path.exists(sys.argv[2]): time.sleep(0.01)
print("alive", flush=True)
"""


def main() -> None:
    """Print one line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, nargs="+", default=[0.1, 1.0, 4.0])
    chosen = parser.parse_args()
    if (why := check.why_not(criu_folder())) is not None:
        print(f"skipped: {why}")
        return
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for gib in chosen.gib:
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
            print(measured(gib, Path(folder)), flush=True)


def measured(gib: float, folder: Path) -> str:
    """Dump and restore once, and copy as many bytes."""
    size, gate = int(gib * (1 << 30)), folder / "gate"
    (folder / "host").mkdir()
    host = SnapshotHost(folder / "host")
    try:
        command = [sys.executable, "-c", PROGRAM, str(size), str(gate)]
        process = host.start(command)
        host.wait_for("ready", seconds=300)
        host.notice(seconds=3600)
        assert process.wait(1200) == 210, host.log()
        dumped = host.record()
        gate.touch()
        assert host.start(command).wait(1200) == 0, host.log()
        restored = host.record()
    finally:
        host.close()
    copy, frozen, back = copied(size, folder), dumped["snapshot_seconds"], restored["snapshot_restore_seconds"]
    return (
        f"{gib:4.1f} GiB: frozen {frozen:6.2f} s ({frozen / copy:4.1f} times cp), "
        f"restored {back:6.2f} s ({back / copy:4.1f} times cp), cp {copy:6.2f} s, "
        f"stored {dumped['uploaded_bytes'] / (1 << 30):.2f} GiB, "
        f"{dumped['ended_at'] - dumped['noticed_at']:.1f} s from the notice to the exit"
    )


def copied(size: int, folder: Path) -> float:
    """Seconds that `cp` takes for so many bytes that are in memory."""
    source = folder / "source"
    with source.open("wb") as file:
        for _ in range(0, size, 1 << 20):
            file.write(os.urandom(1 << 20))
    began = time.monotonic()
    shutil.copyfile(source, folder / "copy")
    return time.monotonic() - began


if __name__ == "__main__":
    main()
