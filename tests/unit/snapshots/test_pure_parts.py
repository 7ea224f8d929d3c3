"""What is asked of criu, what is refused, and whether it fits the time: without processes."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from spotbatch.runtime.snapshot.budget import DEFAULT_BYTES_PER_SECOND, too_large, upload_speed
from spotbatch.runtime.snapshot.document import Snapshot, read_snapshot
from spotbatch.snapshots import processes
from spotbatch.snapshots.criu import dump_arguments, errors_in, restore_arguments
from spotbatch.snapshots.install import NotInstalled, checked, packages
from spotbatch.snapshots.protocol import MOST_BYTES, decoded, encoded, refusal

MIB = 1 << 20


def test_a_connection_is_never_closed_by_a_dump_or_a_restore() -> None:
    for has_tcp in (True, False):
        for words in (
            dump_arguments(1, has_tcp=has_tcp, has_inotify=True),
            restore_arguments([("pipe:[7]", 9)], has_tcp=has_tcp),
        ):
            assert "--tcp-close" not in words
            assert ("--tcp-established" in words) == has_tcp
    assert restore_arguments([("pipe:[7]", 9)], has_tcp=False)[-2:] == ["--inherit-fd", "fd[9]:pipe:[7]"]


def test_the_first_error_of_a_log_is_the_reason() -> None:
    log = (
        "(00.1) Dumping\n(00.2) Error (criu/files.c:9): Can't dump ns fd\n(00.3) Error (criu/x.c:1): Dumping FAILED.\n"
    )
    assert errors_in(log) == "Can't dump ns fd"
    assert errors_in("all is well") == "criu gives no reason"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/dev/nvidia0", "uses /dev/nvidia0, whose state no dump has"),
        ("/dev/dri/renderD128", "uses /dev/dri/renderD128"),
        ("anon_inode:[io_uring]", "uses io_uring"),
        ("/SYSV00000000 (deleted)", "uses System V shared memory"),
        ("/dev/null", ""),
        ("/dev/shm/sem", ""),
    ],
)
def test_what_no_dump_has_is_refused_by_name(target: str, why: str) -> None:
    found = processes._refused_target(0, target)
    assert (why in found[0]) if why else found == []


def test_a_timer_is_stuck_if_it_is_periodic_and_nothing_is_left() -> None:
    line = "clockid: 1\nticks: 1\nsettime flags: 01\nit_value: ({}, {})\nit_interval: ({}, {})\n"
    assert processes.is_stuck(line.format(0, 0, 0, 50_000_000))
    assert not processes.is_stuck(line.format(0, 0, 0, 0)), "it has fired, once and for all"
    assert not processes.is_stuck(line.format(0, 1, 1, 0))


def test_an_address_is_readable() -> None:
    assert processes.address("0100007F:1F90") == "127.0.0.1:8080"


def test_a_snapshot_that_fits_is_not_refused_and_one_that_does_not_is_with_both_figures() -> None:
    assert too_large(1024 * MIB, 0, 120, DEFAULT_BYTES_PER_SECOND) is None
    why = too_large(12_000 * MIB, 1000 * MIB, 120, DEFAULT_BYTES_PER_SECOND)
    assert why is not None
    assert "12000 MiB of memory and 1000 MiB of files need about 104 s at 125 MiB/s, and 100 s are left" in why
    assert too_large(0, 0, 10, DEFAULT_BYTES_PER_SECOND) is not None, "less than the reserve"
    assert too_large(1024 * MIB, 0, 120, 5.0 * MIB) is not None, "the slower of disk and network counts"


def test_the_speed_of_uploads_is_measured_once_they_were_large_enough() -> None:
    assert upload_speed(1 * MIB, 10) == DEFAULT_BYTES_PER_SECOND
    assert upload_speed(640 * MIB, 64) == 10 * MIB


SNAPSHOT = Snapshot(
    attempt=1,
    prefix="runs/r/job/snapshots/01-aa",
    checkpoint="",
    command="c",
    inputs="i",
    places=["/a"],
    pid=20001,
    pipes=[["pipe:[1]", 1]],
    memory_bytes=5,
    file_bytes=6,
    seconds=0.5,
)


def test_a_document_is_read_as_it_was_written() -> None:
    assert read_snapshot(SNAPSHOT.to_json()) == SNAPSHOT


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"pid": "20001"},
        {"pid": True},
        {"places": [1]},
        {"pipes": [["pipe:[1]", 3]]},
        {"pipes": [["pipe:[1]"]]},
        {"prefix": None},
    ],
)
def test_a_document_of_another_kind_is_not_used(change: dict[str, object]) -> None:
    assert read_snapshot(json.dumps({**json.loads(SNAPSHOT.to_json()), **change}).encode()) is None
    assert read_snapshot(b"{") is None


def test_a_message_fits_whatever_the_reason() -> None:
    assert len(encoded(refusal("x" * 10**6))) < MOST_BYTES
    with pytest.raises(ValueError, match="not an object"):
        decoded(b"[]")


def test_each_package_is_pinned_and_another_file_is_not_used(tmp_path: Path) -> None:
    folder, criu = tmp_path, next(each for each in packages() if each.name == "criu")
    assert all(len(each.sha256) == 64 and each.version for each in packages())
    with pytest.raises(NotInstalled, match="did not arrive"):
        checked(criu, folder)
    (folder / f"criu_{criu.version}_amd64.deb").write_bytes(b"something else")
    with pytest.raises(NotInstalled, match="is pinned: it is not used"):
        checked(criu, folder)


@pytest.mark.skipif(not Path("/proc/self/cgroup").exists(), reason="there is no /proc")
def test_a_restored_command_that_ended_at_once_is_not_taken_for_one_outside_its_cgroup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    monkeypatch.setattr(processes, "cgroups", lambda pid: f"/of/{pid}")
    assert processes.is_in_cgroups_of(ended.pid, os.getpid())
    assert not processes.is_in_cgroups_of(os.getpid(), ended.pid)
    ended.wait()
