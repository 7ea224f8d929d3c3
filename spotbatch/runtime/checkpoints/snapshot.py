"""The checkpoint folder in a state of one moment.

A pass walks the folder and reads what is not known yet. If nothing has changed since the pass began, everything is
as it was at that moment; otherwise another pass follows, and when that finds nothing new, the folder was at rest
between them. Files that do not come to rest, since a program keeps them open or mapped or writes constantly, are
copied while its processes are frozen briefly; or the previous version is kept. docs/runtime.md has the rule.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from spotbatch.batch.errors import StoreError, Torn
from spotbatch.runtime.checkpoints.folder import fields_of
from spotbatch.runtime.checkpoints.frozen_copy import FROZEN_SECONDS, FrozenCopies, TooMuch
from spotbatch.runtime.checkpoints.open_policy import OpenPolicy
from spotbatch.runtime.checkpoints.open_rule import OpenRule, Unfinished
from spotbatch.runtime.checkpoints.reader import Reader
from spotbatch.runtime.checkpoints.trust import CLOCK_TICK_NS, FileSystems
from spotbatch.runtime.checkpoints.visit import Seen, Visit
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.log import say_on_change
from spotbatch.runtime.process.freeze import frozen
from spotbatch.runtime.process.open_files import look_at

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

LONG_PASS_SECONDS = 0.2  # many files: walking them again costs more than waiting for one clock tick
SETTLE_SECONDS = 2.0  # how long a save waits for files that are being written
Missed = dict[bytes, str]  # why the checkpoint lacks a file as it is now; the version before, if there is one


class Taken(NamedTuple):
    """A snapshot: the index holds its content."""

    looked_at: float  # UTC epoch seconds
    missed: Missed


class Folder:
    """The folder of one attempt, across all its saves."""

    def __init__(
        self,
        path: str,
        *,
        exclude: tuple[str, ...],
        index: "Index",
        processes: Callable[[], Iterable[int]],
        scratch: Path | None,
        policy: OpenPolicy,
    ) -> None:
        self._path = path
        self._exclude = exclude
        self._index = index
        self._processes = processes
        self._scratch = scratch
        self._policy = policy
        self._file_systems = FileSystems()
        self._restless_before: set[bytes] = set()
        self._pass_seconds = 0.0  # of the last one

    def take(self, reader: Reader, limit: Limit, *, is_asked: bool, half_written: Mapping[bytes, Unfinished]) -> Taken:
        """Bring the index up to date with the folder. `is_asked`: the program asserts that it is complete now.

        Raises:
            Torn: the folder does not exist, or is being rebuilt.
            StoreError: what was read could not be sent, or the time is up.
        """
        looked_at, seen, is_settled = self._passes(reader, limit, is_asked=is_asked)
        self._refuse_emptied(seen, is_asked=is_asked)
        missed = {key: half.why for key, half in half_written.items() if self._is_half(key, half)}
        if not is_settled:
            at, restless = self._take_restless(seen, reader, is_asked=is_asked)
            looked_at, missed = at or looked_at, restless | missed
        for key in missed:
            self._index.as_before(key)
        for key, why in seen.unreadable.items():  # what is known of it is kept
            missed[key] = why
        return Taken(looked_at, missed)

    def _passes(self, reader: Reader, limit: Limit, *, is_asked: bool) -> tuple[float, Seen, bool]:
        """Repeat until the folder was at rest, or time is up."""
        if self._pass_seconds > LONG_PASS_SECONDS:
            limit.wait(2 * CLOCK_TICK_NS / 1e9)  # recent writes then precede the pass: one pass is enough
        give_up: float | None = None  # counted from the end of the first pass, which may take long
        pause_seconds, number = 0.02, 0
        while True:
            number += 1
            looked_at = time.time()
            problem: Torn | None = None
            try:
                seen = self._pass(reader, is_first=number == 1)
            except Torn as error:  # it may reappear at once
                problem = error
            if problem is None and self._is_settled(seen, number):
                self._restless_before = set()
                return looked_at, seen, True
            now = time.monotonic()
            give_up = give_up or now + (0.0 if is_asked else min(SETTLE_SECONDS, limit.left_seconds() / 2))
            if problem is not None and now >= give_up:
                raise problem
            if problem is None and number > 1 and (now >= give_up or self._is_habit(seen)):
                return looked_at, seen, False
            if limit.is_over():
                raise StoreError("the time for this save is over")
            if number % 2 == 0 or problem is not None:  # two passes in immediate succession, then a pause
                limit.wait(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 0.25)

    def _pass(self, reader: Reader, *, is_first: bool) -> Seen:
        seen = Seen(opened=look_at(self._processes()))
        self._policy.observe(seen.opened)
        visit = self._visit(seen, reader, is_first=is_first)
        try:
            visit.all()
        except FileNotFoundError as error:
            raise Torn(f"the checkpoint folder {self._path} is not there: the last checkpoint stays") from error
        except OSError as error:
            raise Torn(f"the checkpoint folder cannot be looked at ({error}): the last checkpoint stays") from error
        self._pass_seconds = (time.monotonic_ns() - seen.steady_ns) / 1e9
        if visit.others:
            names = ", ".join(os.fsdecode(key) for key in visit.others[:5])
            say_on_change("others", f"not saved, since they are no files: {names}")
        return seen

    def _visit(
        self,
        seen: Seen,
        reader: Reader,
        *,
        is_first: bool,
        copies: FrozenCopies | None = None,
        without: frozenset[bytes] = frozenset(),
    ) -> Visit:
        return Visit(
            folder=self._path,
            exclude=self._exclude,
            index=self._index,
            file_systems=self._file_systems,
            seen=seen,
            reader=reader,
            is_first=is_first,
            copies=copies,
            without=without,
            scratch=self._scratch,
        )

    def _is_settled(self, seen: Seen, number: int) -> bool:
        if seen.held or seen.moving:
            return False
        if seen.opened.is_blind and time.time_ns() - seen.newest_ns < SETTLE_SECONDS * 1e9:
            return False  # a process that we cannot see may be writing: only rest is proof
        if number > 1 and not seen.differences:
            return True
        return not (seen.mapped or seen.opened.is_blind) and seen.nothing_changed_since()

    def _is_habit(self, seen: Seen) -> bool:
        """What was restless at the last save will not come to rest in this one."""
        return bool(seen.restless) and seen.restless <= self._restless_before and not seen.opened.is_blind

    def _refuse_emptied(self, seen: Seen, *, is_asked: bool) -> None:
        """A folder that was just emptied is being rebuilt: the host may be gone before there is anything in it."""
        before = self._index.published_look(b"")
        if seen.entries or is_asked or before is None or not self._index.has_published():
            return
        found = os.stat(self._path)  # noqa: PTH116 - as everywhere here
        is_another = (found.st_ino, found.st_dev) != fields_of(before)[3:5]
        if is_another or time.time_ns() - found.st_ctime_ns < SETTLE_SECONDS * 1e9:
            raise Torn("the checkpoint folder was emptied or made anew, and has nothing yet: the last checkpoint stays")

    # --- what does not come to rest

    def _take_restless(self, seen: Seen, reader: Reader, *, is_asked: bool) -> tuple[float | None, Missed]:
        """When it was copied, if at all, and what was not copied."""
        self._restless_before = seen.restless
        missed: Missed = {}
        open_keys = seen.held.keys() | seen.mapped
        if self._policy.rule is OpenRule.BEFORE:
            return None, dict.fromkeys(open_keys, "it is open for writing, or mapped")
        if not is_asked:
            for key, file in seen.held.items():
                half = self._policy.unfinished(file, seen.opened, "it is open, and being written to its end")
                if half is not None and self._is_half(key, half):
                    missed[key] = half.why
        is_still = not seen.differences and not seen.moving - missed.keys()  # since the last pass: open, and at rest
        if is_still or not seen.restless - missed.keys():
            return None, missed
        at, problem = self._copy_frozen(seen, reader, frozenset(missed))
        if problem:
            missed |= dict.fromkeys(open_keys, f"it is open for writing, or mapped, and {problem}")
        return at, missed

    def _is_half(self, key: bytes, half: Unfinished) -> bool:
        before, now = self._index.published_look(key), self._index.known_of(key)
        if now is None or not now.is_fresh:
            return False
        return not half.only_if_smaller or (before is not None and fields_of(now.look)[0] < fields_of(before)[0])

    def _copy_frozen(self, seen: Seen, reader: Reader, without: frozenset[bytes]) -> tuple[float | None, str]:
        """Copy what changes while the command is frozen, and read the copies once it resumes."""
        walk_seconds = (time.monotonic_ns() - seen.steady_ns) / 1e9
        still = Seen(opened=seen.opened)
        try:
            with FrozenCopies(self._scratch) as copies:
                visit = self._visit(still, reader, is_first=False, copies=copies, without=without)
                with frozen(lambda: list(self._processes())) as is_still:
                    looked_at = time.time()
                    if not is_still:
                        return None, "its process cannot be stopped for a moment"
                    if walk_seconds < FROZEN_SECONDS / 2:
                        visit.all()
                    else:  # a large folder: only what is known not to rest
                        for key in seen.restless - without:
                            visit.one(key)
                for copy in copies:
                    known = self._index.known_of(copy.key)
                    visit.put(copy.key, copy.found, copies.descriptor, copy.base, known)
        except (TooMuch, Torn) as problem:
            return None, str(problem)
        except OSError as error:
            return None, f"no copy can be made ({error})"
        seen.unreadable |= still.unreadable
        return looked_at, ""
