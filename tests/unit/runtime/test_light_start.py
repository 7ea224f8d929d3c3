"""What the start path has instead of the standard library's slow modules behaves as those do."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path as RealPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotbatch.batch.light_json import dumps
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.process.child import start

HEAVY = [
    "typing",
    "re",
    "pathlib",
    "json",
    "subprocess",
    "ctypes",
    "queue",
    "urllib.parse",
    "logging",
    "hashlib",
    "heapq",
    "tempfile",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


def test_a_whole_attempt_that_saves_nothing_loads_no_slow_module(tmp_path: RealPath) -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; from spotbatch.runtime.cli import run; code = run(['--', 'true']); "
        f"sys.exit(code or str([name for name in {HEAVY} if name in sys.modules]))"
    )
    store = {"SPOTBATCH_ARTIFACTS_URL": (tmp_path / "store").as_uri(), "SPOTBATCH_RUN_ID": "light"}
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, env={**os.environ, **store})
    assert done.stderr.decode().strip() == "[]"


@given(VALUES)
def test_light_json_writes_what_json_writes(value: Any) -> None:
    assert dumps(value) == json.dumps(value, indent=1)


PARTS = st.lists(st.text(st.sampled_from("ab./ é"), max_size=6), min_size=1, max_size=3)


@given(PARTS, st.sampled_from(["x", "a.b", "é"]))
def test_a_light_path_is_what_pathlib_makes_of_the_same_parts(parts: list[str], name: str) -> None:
    light, real = Path(*parts), RealPath(*parts)
    assert str(light) == str(real)
    assert light == real
    assert real == light
    assert hash(light) == hash(real)
    assert str(light / name) == str(real / name)
    assert light.name == real.name
    assert str(light.absolute()) == str(real.absolute())
    if real.name not in ("", ".."):
        assert str(light.with_name(name)) == str(real.with_name(name))
        assert str(light.parent) == str(real.parent)
        assert light.suffix == real.suffix  # asked of pathlib


def test_a_light_path_makes_and_removes_what_pathlib_does(tmp_path: RealPath) -> None:
    top = Path(tmp_path)
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b").mkdir(exist_ok=True)
    with pytest.raises(FileExistsError):
        (top / "a").mkdir()
    with pytest.raises(FileNotFoundError):
        (top / "x" / "y").mkdir(exist_ok=True)
    (top / "f").write_text("one")
    with pytest.raises(FileExistsError):
        (top / "f").mkdir(parents=True, exist_ok=True)
    assert (top / "f").read_bytes() == b"one"
    (top / "f").replace(top / "g")
    assert ((top / "f").exists(), (top / "g").read_text()) == (False, "one")
    (top / "f").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (top / "f").unlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "g"]


def output_of(argv: list[str], **given: Any) -> bytes:
    read, write = os.pipe()
    child = start(argv, given.pop("variables", dict(os.environ)), streams=(None, write, None), **given)
    os.close(write)
    with os.fdopen(read, "rb") as opened:
        found = opened.read()
    assert child.wait(10) == 0
    return found


def test_a_child_inherits_nothing_but_its_three_descriptors(tmp_path: RealPath) -> None:
    with (tmp_path / "open").open("w") as opened:
        os.set_inheritable(opened.fileno(), True)
        shown = output_of(["/bin/sh", "-c", "exec ls /proc/self/fd"]).split()
    assert [each for each in shown if int(each) > 3] == []  # 3 is the folder that ls reads


def test_a_child_starts_in_its_folder_with_its_variables_and_default_signals(tmp_path: RealPath) -> None:
    script = "pwd; echo $A; grep SigIgn /proc/self/status"
    shown = output_of(["sh", "-c", script], folder=Path(tmp_path), variables={"A": "é b", "PATH": os.environ["PATH"]})
    where, value, ignored = shown.decode().splitlines()
    assert (where, value) == (str(tmp_path), "é b")
    assert int(ignored.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


@pytest.mark.parametrize(
    ("argv", "folder", "error", "named"),
    [
        (["no-such-program"], None, FileNotFoundError, "no-such-program"),
        (["/etc/passwd"], None, PermissionError, "/etc/passwd"),
        (["true"], "/no/such/folder", FileNotFoundError, "/no/such/folder"),
    ],
)
def test_a_child_that_cannot_start_is_an_error_here_with_its_reason(
    argv: list[str], folder: str | None, error: type[OSError], named: str
) -> None:
    with pytest.raises(error) as raised:
        start(argv, os.environ, streams=(None, None, None), folder=None if folder is None else Path(folder))
    assert raised.value.filename == named


def test_a_program_that_may_not_be_run_hides_none_behind_it_in_the_path(tmp_path: RealPath) -> None:
    for name, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name / "tool").chmod(mode)
    path = {"PATH": f"{tmp_path}/none:{tmp_path}/first:{tmp_path}/second"}
    assert output_of(["tool"], variables=path) == b"second\n"
    with pytest.raises(PermissionError):
        start(["tool"], {"PATH": f"{tmp_path}/first:{tmp_path}/none"}, streams=(None, None, None))


def test_a_signalled_child_ends_with_the_signals_negative_number() -> None:
    child = start(["sleep", "60"], os.environ, streams=(None, None, None))
    assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM
    child.send_signal(signal.SIGTERM)  # its process id may be another's now
    began = time.monotonic()
    assert child.wait(10) == -signal.SIGTERM
    assert time.monotonic() - began < 5
