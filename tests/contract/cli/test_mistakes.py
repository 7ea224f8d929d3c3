"""Mistakes as people make them, each with its message: what, the value, and the way out. No AWS is asked."""

from pathlib import Path

import pytest

from tests.contract.cli_world import run

QUEUE = ("--queue", "q", "--definition", "d")
NOWHERE = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
NOWHERE |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}  # the discard port: nothing answers there

# (what is typed, the exit code, what must be in the message: the value that was given, and a way out)
MISTAKES = [
    (("sumbit", "--", "true"), 2, ("sumbit", "submit")),
    (("submit", "--vcpu", "2", "--", "true"), 2, ("--vcpu", "--vcpus")),
    (("submit", *QUEUE, "--vcpus", "two", "--", "true"), 2, ("two",)),
    (("submit", *QUEUE, "--vcpus", "0", "--", "true"), 2, ("--vcpus is at least 1", "0")),
    (("submit", *QUEUE, "--memory", "lots", "--", "true"), 2, ("lots", "512M")),
    (("submit", *QUEUE, "--memory", "2", "--", "true"), 2, ("at least 4 MiB", "2")),
    (("submit", *QUEUE, "--gpus", "-1", "--", "true"), 2, ("--gpus is at least 0", "-1")),
    (("submit", *QUEUE, "--array", "1", "--", "true"), 2, ("2", "10000", "1")),
    (("submit", *QUEUE, "--array", "20000", "--", "true"), 2, ("20,000", "--inputs FILE")),
    (("submit", *QUEUE, "--retries", "10", "--", "true"), 2, ("0 to 9", "10")),
    (("submit", *QUEUE, "--timeout", "5", "--", "true"), 2, ("60", "5")),
    (("submit", *QUEUE, "--timeout", "soon", "--", "true"), 2, ("soon", "15m")),
    (("submit", *QUEUE, "--env", "NO_SUCH_VARIABLE_HERE", "--", "true"), 2, ("NO_SUCH_VARIABLE_HERE",)),
    (("submit", *QUEUE, "--env", "AWS_BATCH_X=1", "--", "true"), 2, ("AWS_BATCH_",)),
    (("submit", *QUEUE, "--tag", "team", "--", "true"), 2, ("team", "KEY=VALUE")),
    (("submit", *QUEUE, "--name", "a b!", "--", "true"), 2, ("a b!",)),
    (("submit", *QUEUE, "--sequential", "--", "true"), 2, ("--array",)),
    (("submit", *QUEUE, "--after-each", "x", "--", "true"), 2, ("--array",)),
    (("submit", *QUEUE, "--inputs", "none.txt", "--", "true"), 3, ("none.txt", "no such file")),
    (("submit", *QUEUE, "--inputs", "none/*.txt", "--", "true"), 3, ("none/*.txt", "nothing is there")),
    (("submit", *QUEUE, "--inputs", ".", "--", "true"), 2, ("is a folder", "'./*'")),
    (("submit", *QUEUE, "--inputs", "lines", "--array", "3", "--", "true"), 2, ("leave --array 3 out",)),
    (("submit", *QUEUE, "--code", "none", "--", "true"), 3, ("none", "no such folder")),
    (("submit", "-f", "none.toml"), 3, ("none.toml",)),
    (("submit", "-f", "bad.toml"), 2, ("bad.toml",)),
    (("submit", *QUEUE, "--dry-run", "--watch", "--", "true"), 2, ("--watch",)),
    (("submit", *QUEUE, "--", "true"), 4, ("127.0.0.1:9",)),
    (("submit", *QUEUE, "--deadline", "6h", "--", "true"), 2, ("--work",)),
    (("show",), 2, ("JOB",)),
    (("show", "a:b", "--queue", "q"), 2, ("a:b", "id:index")),
    (("watch", "work", "--queue", "q"), 4, ("127.0.0.1:9",)),
    (("list", "--since", "yesterday", "--queue", "q"), 2, ("yesterday", "15m")),
    (("list", "--status", "DONE", "--queue", "q"), 2, ("DONE", "succeeded")),
    (("list", "--limit", "0", "--queue", "q"), 2, ("0",)),
    (("logs", "work", "--failed", "-f"), 2, ("--failed", "--follow")),
    (("logs", "work", "--grep", "("), 2, ("--grep", "(")),
    (("logs", "work", "--tail", "0"), 2, ("0",)),
    (("cost", "work", "--tag", "a=b"), 2, ("--reconcile",)),
    (("results", "work"), 2, ("destination", "--help")),
    (("estimate", "--jobs", "-5", "--time", "1h"), 2, ("-5", "1")),
    (("audit",), 2, ("template", "--queue")),
    (("image", "bild"), 2, ("bild", "build")),
    (("local", "interrupt", "--cout", "1"), 2, ("--cout",)),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder."""
    (tmp_path / "lines").write_text("a\nb\n")
    (tmp_path / "bad.toml").write_text("command = [\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("typed", "code", "parts"), MISTAKES, ids=[" ".join(each[0])[:60] for each in MISTAKES])
def test_a_mistake_is_answered_with_the_value_and_the_way_out(
    folder: Path, typed: tuple[str, ...], code: int, parts: tuple[str, ...]
) -> None:
    said = run(*typed, environ={**NOWHERE, "SPOTBATCH_HOME": str(folder / "home")})
    assert said.code == code, said.err
    assert [part for part in parts if part not in said.err] == [], said.err
    assert "Traceback" not in said.err
    assert "bug of spotbatch" not in said.err
    assert said.out == ""


def test_there_are_forty_of_them() -> None:
    assert len(MISTAKES) >= 40
