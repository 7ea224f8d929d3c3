"""Permanent and transient are told apart by class, and an error of our own never passes for the command's exit code."""

import errno

import pytest

from spotbatch.batch.environment import EXIT_INTERNAL, EXIT_INTERRUPTED
from spotbatch.batch.errors import BadName, Corrupt, HostFault, InvalidSetting, Missing, Refused, StoreError, Superseded
from spotbatch.runtime import cli
from spotbatch.runtime.attempt import EXIT_OURS
from spotbatch.runtime.errors import local_error, may_pass


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EBUSY, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ESTALE, errno.EAGAIN]
)
def test_trouble_of_this_host_may_pass_on_another(code: int) -> None:
    assert may_pass(OSError(code, "x"))
    assert isinstance(local_error("x", OSError(code, "x")), HostFault)


@pytest.mark.parametrize("code", [errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EILSEQ])
def test_a_name_or_a_right_is_the_same_on_every_host(code: int) -> None:
    assert not may_pass(OSError(code, "x"))
    assert isinstance(local_error("x", OSError(code, "x")), InvalidSetting)


def test_of_the_store_only_silence_may_pass() -> None:
    assert may_pass(StoreError("x"))
    assert may_pass(HostFault("x"))
    assert not any(may_pass(kind("x")) for kind in (Refused, Missing, BadName, InvalidSetting, Corrupt, Superseded))


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (InvalidSetting("x"), EXIT_OURS),
        (BadName("x"), EXIT_OURS),
        (HostFault("x"), EXIT_INTERRUPTED),
        (RecursionError("x"), EXIT_INTERNAL),
        (KeyError("x"), EXIT_INTERNAL),
    ],
)
def test_each_class_has_its_exit_code(
    problem: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise problem

    monkeypatch.setattr(cli, "read_settings", fail)
    assert cli.run(["--", "true"]) == code
    assert ("report it" in capsys.readouterr().err) == (code == EXIT_INTERNAL)
