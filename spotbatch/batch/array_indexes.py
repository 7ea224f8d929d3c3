"""The run indexes held by one job, as ranges: their text form (3,17,40-45), their order, and which child has which.

A run may be spread over several arrays, and an array may hold only some of a run's children. `ArrayIndexes` says which:
child k of the array has the k-th index. All operations work on ranges, so ten thousand neighbours cost as much as two.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from spotbatch.batch.errors import InvalidInput

MOST_INDEXES: Final = 10_000_000  # of one text; a run has at most a million inputs
_MOST_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class ArrayIndexes:
    """Ranges (first, last), both included, that do not overlap, in child order. Empty: no indexes.

    Values built here ascend and their ranges do not touch; `parse` keeps the order of a text written by a user.
    """

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, indexes: Iterable[int]) -> "ArrayIndexes":
        """Build from single indexes in any order; duplicates count once."""
        return cls.of_ranges((index, index) for index in indexes)

    @classmethod
    def of_ranges(cls, ranges: Iterable[tuple[int, int]]) -> "ArrayIndexes":
        """Build from (first, last) pairs in any order, which may overlap."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    @classmethod
    def span(cls, first: int, count: int) -> "ArrayIndexes":
        """`count` consecutive indexes starting at `first`."""
        return cls(((first, first + count - 1),) if count > 0 else ())

    @classmethod
    def parse(cls, text: str) -> "ArrayIndexes":
        """Read 3,17,40-45, keeping its order. Raises InvalidInput for any other text, or if an index is repeated."""
        found: list[tuple[int, int]] = []
        for part in text.split(","):
            start, dash, end = part.strip().partition("-")
            first, last = _number(start), _number(end if dash else start)
            if first is None or last is None or last < first:
                raise InvalidInput(f"array indexes are written as 3,17,40-45, not {_shown(text)}")
            if found and first == found[-1][1] + 1:
                found[-1] = (found[-1][0], last)
            else:
                found.append((first, last))
        indexes = cls(tuple(found))
        if len(indexes) != len(cls.of_ranges(found)):
            raise InvalidInput(f"each array index is named once, as in 3,17,40-45, not {_shown(text)}")
        if len(indexes) > MOST_INDEXES:
            raise InvalidInput(f"at most {MOST_INDEXES:,} array indexes, not {len(indexes):,}: {_shown(text)}")
        return indexes

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and any(first <= index <= last for first, last in self.ranges)

    def __str__(self) -> str:
        """3,17,40-45, as `parse` reads it."""
        return ",".join(_range_text(first, last) for first, last in self.ranges)

    def shown(self, *, most: int = 12) -> str:
        """3, 17, 40-45 for display: `most` ranges, and how many more indexes there are."""
        text = ", ".join(_range_text(first, last) for first, last in self.ranges[:most])
        beyond = sum(last - first + 1 for first, last in self.ranges[most:])
        return f"{text} and {beyond:,} more" if beyond else text

    def at(self, child: int) -> int | None:
        """The run index of child `child` (from 0) of the array that holds these; None beyond the last."""
        place = child
        for first, last in self.ranges:
            if 0 <= place <= last - first:
                return first + place
            place -= last - first + 1
        return None

    def child_of(self, index: int) -> int | None:
        """Which child (from 0) of the array that holds these has a given run index; None if none has."""
        place = 0
        for first, last in self.ranges:
            if first <= index <= last:
                return place + index - first
            place += last - first + 1
        return None

    def union(self, other: "ArrayIndexes") -> "ArrayIndexes":
        """The indexes in either."""
        return ArrayIndexes.of_ranges((*self.ranges, *other.ranges))

    def without(self, other: "ArrayIndexes") -> "ArrayIndexes":
        """The indexes that are not in `other`."""
        left: list[tuple[int, int]] = []
        cuts, passed = sorted(other.ranges), 0
        for first, last in sorted(self.ranges):
            start = first
            while passed < len(cuts) and cuts[passed][1] < start:
                passed += 1
            for cut_first, cut_last in islice(cuts, passed, None):
                if cut_first > last:
                    break
                if cut_first > start:
                    left.append((start, cut_first - 1))
                start = max(start, cut_last + 1)
            if start <= last:
                left.append((start, last))
        return ArrayIndexes.of_ranges(left)

    def common(self, other: "ArrayIndexes") -> "ArrayIndexes":
        """The indexes in both."""
        return self.without(self.without(other))

    def chunks(self, *, most: int, longest_text: int) -> Iterator["ArrayIndexes"]:
        """Split into as few arrays as possible, each of at most `most` indexes and `longest_text` characters."""
        chunk: list[tuple[int, int]] = []
        size = length = 0
        for first, last in self.ranges:
            start = first
            while start <= last:
                end = min(last, start + most - size - 1)
                added = len(_range_text(start, end)) + (1 if chunk else 0)
                if chunk and (size == most or length + added > longest_text):
                    yield ArrayIndexes(tuple(chunk))
                    chunk, size, length = [], 0, 0
                    continue
                chunk.append((start, end))
                size, length, start = size + end - start + 1, length + added, end + 1
        if chunk:
            yield ArrayIndexes(tuple(chunk))


def spans(count: int, *, most: int) -> Sequence[ArrayIndexes]:
    """The indexes of a run of `count`, split into arrays of `most` each and a remainder."""
    return [ArrayIndexes.span(first, min(most, count - first)) for first in range(0, count, most)]


def _range_text(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _number(text: str) -> int | None:
    """A whole number in ASCII digits; None for anything else, including numbers far too long to be an index."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
