"""A journal that lost commits is never opened in silence, and a kill is never taken for a loss."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spotbatch.batch.errors import Unavailable
from spotbatch.local.engine.commit_count import FILE_NAME as COUNT_FILE
from spotbatch.local.engine.commit_count import CommitCount
from spotbatch.local.engine.journal import FILE_NAME, Journal

SEED = int(os.environ.get("SPOTBATCH_TEST_SEED", "20261129"))
ROUNDS = 60
WRITER = """
import sys
from pathlib import Path
from spotbatch.local.engine.journal import Journal

journal = Journal(Path(sys.argv[1]))
for number in range(1, 1_000_000):
    journal.write("INSERT INTO stop (job_no, idx, kind, reason) VALUES (?, 0, 'k', ?)", (number, "x" * (number % 3000)))
    journal.commit()
    if number % 5 == 0:
        journal.sync()
    if number % 97 == 0:
        journal.checkpoint()
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A home as a kill leaves it, and how many rows were acknowledged."""
    home = tmp_path_factory.mktemp("killed") / "home"
    home.mkdir()
    return home, killed_after(home, 120)


def killed_after(home: Path, rows: int) -> int:
    """Kill a writer once it has acknowledged so many rows; how many it had by then."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(home)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= rows:
                break
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    return int(rest[-1]) if rest else rows


def rows_of(home: Path) -> int:
    journal = Journal(home)
    found = journal.row("SELECT COUNT(*), MAX(job_no) FROM stop")
    journal.close()
    assert found is not None
    assert found[0] == (found[1] or 0)
    return int(found[0])


def copied(home: Path, to: Path) -> Path:
    shutil.copytree(home, to)
    return to


def contents(home: Path) -> dict[str, bytes]:
    names = (FILE_NAME, f"{FILE_NAME}-wal", COUNT_FILE)
    return {name: (home / name).read_bytes() for name in names if (home / name).exists()}


def test_a_kill_at_any_moment_loses_nothing_and_is_no_damage(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    for number in range(12):
        home = tmp_path / str(number)
        home.mkdir()
        acknowledged = killed_after(home, rng.randrange(1, 250))
        assert rows_of(home) >= acknowledged, f"seed {SEED}, round {number}"


def test_one_flipped_byte_in_the_log_loses_nothing_or_stops_the_start(killed: tuple[Path, int], tmp_path: Path) -> None:
    home, acknowledged = killed
    rng = random.Random(SEED)
    size = (home / f"{FILE_NAME}-wal").stat().st_size
    refused = list[str]()
    for number in range(ROUNDS):
        place = rng.randrange(size) if number else 0
        hurt = copied(home, tmp_path / str(number))
        with (hurt / f"{FILE_NAME}-wal").open("r+b") as log:
            log.seek(place)
            byte = log.read(1)
            log.seek(place)
            log.write(bytes([byte[0] ^ (1 << rng.randrange(8))]))
        before = contents(hurt)
        try:
            assert rows_of(hurt) >= acknowledged, f"seed {SEED}, byte {place}"
        except Unavailable as error:
            refused.append(str(error))
            assert contents(hurt) == before, "what may be mended by hand was changed"
    assert all("lacks" in text or "malformed" in text for text in refused)
    assert len(refused) > ROUNDS // 10, f"seed {SEED}: a good part of the log is not in the file yet"


# A kill may leave the count one commit behind, and 3 % of a short log may be one commit: so no more than 0.9.
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_log_that_was_cut_stops_the_start(killed: tuple[Path, int], tmp_path: Path, share: float) -> None:
    home, _ = killed
    hurt = copied(home, tmp_path / "hurt")
    log = hurt / f"{FILE_NAME}-wal"
    used = last_frame_end(log)
    os.truncate(log, int(used * share))
    before = contents(hurt)
    with pytest.raises(Unavailable, match=r"lacks the last \d+ of its \d+ commits.*remove .*journal\.commits"):
        Journal(hurt)
    assert contents(hurt) == before
    (hurt / COUNT_FILE).unlink()  # the way out that the message names
    assert rows_of(hurt) >= 0


def last_frame_end(log: Path) -> int:
    """Where the frames of the log's present salt end (sqlite.org/fileformat2.html, "WAL File Format")."""
    raw = log.read_bytes()
    page = int.from_bytes(raw[8:12], "big")
    end = 32
    while end + 24 <= len(raw) and raw[end + 8 : end + 16] == raw[16:24]:
        end += 24 + page
    return end


def test_a_log_that_is_gone_stops_the_start(killed: tuple[Path, int], tmp_path: Path) -> None:
    hurt = copied(killed[0], tmp_path / "hurt")
    (hurt / f"{FILE_NAME}-wal").unlink()
    with pytest.raises(Unavailable, match="lacks"):
        Journal(hurt)


def test_a_clean_end_leaves_no_log_and_starts_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(10):
        journal.write("INSERT INTO stop (job_no, idx, kind) VALUES (?, 0, 'k')", (number,))
        journal.commit()
    journal.close()
    assert not (tmp_path / f"{FILE_NAME}-wal").exists()
    again = Journal(tmp_path)
    assert again.row("SELECT COUNT(*) FROM stop") == (10,)
    again.close()


def test_a_count_that_is_damaged_itself_asks_for_nothing(killed: tuple[Path, int], tmp_path: Path) -> None:
    hurt = copied(killed[0], tmp_path / "hurt")
    raw = bytearray((hurt / COUNT_FILE).read_bytes())
    raw[7] ^= 1
    (hurt / COUNT_FILE).write_bytes(raw)
    assert rows_of(hurt) >= killed[1]


def test_after_another_boot_only_what_the_disk_had_for_certain_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = CommitCount(tmp_path)
    count.open(3)
    count.committed(9)
    count.synced(5)
    count.close()
    assert CommitCount(tmp_path).expected() == 9
    monkeypatch.setattr("spotbatch.local.engine.commit_count._boot_id", lambda: "another")
    later = CommitCount(tmp_path)
    assert later.expected() == 5
    later.open(8)  # a start does not make certain what the disk may lack
    later.close()
    monkeypatch.setattr("spotbatch.local.engine.commit_count._boot_id", lambda: "a third")
    assert CommitCount(tmp_path).expected() == 5
