"""One tree of errors: each class says what it means for the caller, and whether what failed may pass."""

import errno
import inspect

import pytest

from spotbatch.batch import errors
from spotbatch.batch.errors import SpotbatchError
from spotbatch.runtime.errors import local_error, may_pass

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, SpotbatchError)]
MAY_PASS = {"Unavailable", "HostFault", "StoreError", "Torn"}


@pytest.mark.parametrize("kind", CLASSES)
def test_each_class_says_whether_what_failed_may_pass(kind: type[SpotbatchError]) -> None:
    assert kind.is_transient is (kind.__name__ in MAY_PASS)
    assert may_pass(kind("x")) is kind.is_transient
    assert kind.__doc__


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn = errors.__doc__ or ""
    for kind in CLASSES:
        (line,) = [line for line in drawn.splitlines() if line.lstrip("│├└─ ").split(" ")[0] == kind.__name__]
        assert ("may pass" in line) is kind.is_transient, line
    assert {each.exit_code for each in CLASSES} == {1, 2, 3, 4, 70}


@pytest.mark.parametrize(
    ("code", "passes"), [(errno.ENOSPC, True), (errno.EBUSY, True), (errno.EACCES, False), (errno.ENAMETOOLONG, False)]
)
def test_what_the_system_says_of_this_host_may_pass_on_another_and_what_it_says_of_a_name_does_not(
    code: int, passes: bool
) -> None:
    error = OSError(code, "x")
    assert may_pass(error) is passes
    assert may_pass(local_error("x", error)) is passes
