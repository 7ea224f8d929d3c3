"""Our light dataclasses hold what the standard library's would, and cost less to import."""

import copy
import dataclasses
import subprocess
import sys

import pytest

from spotbatch.batch.light_dataclass import as_dict, dataclass, made_by


@dataclass(frozen=True, kw_only=True)
class Point:
    x: int
    y: int = 2


@dataclass(kw_only=True)
class Notes:
    title: str = ""
    lines: list[str] = made_by(default_factory=list)
    _cache: str | None = None


def test_fields_are_set_by_name_and_have_their_defaults() -> None:
    assert (Point(x=1).x, Point(x=1).y, Point(x=1, y=5).y) == (1, 2, 5)
    assert repr(Point(x=1)) == "Point(x=1, y=2)"
    assert as_dict(Point(y=3, x=1)) == {"x": 1, "y": 3}
    assert list(as_dict(Point(y=3, x=1))) == ["x", "y"]


@pytest.mark.parametrize("values", [{}, {"y": 1}, {"x": 1, "z": 2}])
def test_what_is_missing_or_unknown_is_refused_by_name(values: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="x" if "x" not in values else "z"):
        Point(**values)


def test_equal_fields_are_equal_and_hash_the_same_and_other_classes_are_not() -> None:
    assert Point(x=1) == Point(x=1, y=2)
    assert Point(x=1) != Point(x=2)
    assert len({Point(x=1), Point(x=1), Point(x=2)}) == 2
    assert Notes() != object()
    with pytest.raises(TypeError, match="unhashable"):
        hash(Notes())


def test_a_frozen_one_cannot_be_changed_and_can_be_copied() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError, match=r"Point\.x"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match=r"Point\.y"):
        del point.y
    assert copy.copy(point) == point


def test_a_default_that_is_made_is_made_for_each() -> None:
    one, other = Notes(), Notes()
    one.lines.append("a")
    assert (one.lines, other.lines) == (["a"], [])
    assert one._cache is None
    assert "_cache" not in as_dict(one)


def test_the_standard_library_takes_them_for_its_own() -> None:
    notes = Notes(title="a", lines=["b"])
    assert dataclasses.is_dataclass(notes)
    assert dataclasses.asdict(notes) == {"title": "a", "lines": ["b"]}
    assert [each.name for each in dataclasses.fields(Point)] == ["x", "y"]
    assert dataclasses.replace(Point(x=1), y=9) == Point(x=1, y=9)


HEAVY = (
    "dataclasses",
    "inspect",
    "hashlib",
    "sqlite3",
    "tempfile",
    "shutil",
    "random",
    "obstore",
    "datetime",
    "argparse",
)


def test_the_start_of_a_container_imports_nothing_heavy() -> None:
    ask = f"import sys, spotbatch.runtime.cli; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {ask}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == "[]"
