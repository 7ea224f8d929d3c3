"""The checkpoint contract as a property: a restore gives a published state, none older than the last acknowledged."""

import contextlib
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotbatch.batch.errors import StoreError, Superseded, Torn
from spotbatch.runtime import deadline
from spotbatch.runtime.checkpoints import snapshot
from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.checkpoints.writer import Writer
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.store import FolderStore

PREFIX = "p"
State = dict[str, bytes]  # of a file its content, of a link where it points, of a folder nothing


class Clock:
    """The system's clock, which may be set back an hour and forward again."""

    offset_ns = 0


class HostIsGone(BaseException):
    """The attempt is killed within a call to the store."""


class Failing(FolderStore):
    """Kills, or loses answers, at chosen calls that change the store."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.calls_left: int | None = None
        self.takes_effect = False
        self.is_lost_answer = False

    def arm(self, calls: int, *, takes_effect: bool, is_lost_answer: bool) -> None:
        self.calls_left, self.takes_effect, self.is_lost_answer = calls, takes_effect, is_lost_answer

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        if self._strikes():
            if self.takes_effect:
                super().put(key, data)
            self._fail()
        super().put(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            if self._strikes():
                if self.takes_effect:
                    super().delete([key])
                self._fail()
            super().delete([key])

    def _strikes(self) -> bool:
        if self.calls_left is None:
            return False
        self.calls_left -= 1
        return self.calls_left < 0

    def _fail(self) -> None:
        if self.is_lost_answer:
            self.calls_left = None
            raise StoreError("the answer was lost")
        raise HostIsGone


def state_of(folder: Path) -> State:
    found: State = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = os.fsencode(path.readlink())
        else:
            found[name + "/" * path.is_dir()] = b"" if path.is_dir() else path.read_bytes()
    return found


@dataclass
class Life:
    """What the model knows: states that a save tried to publish, and those not older than the last acknowledged one."""

    top: Path
    store: Failing
    allowed: list[State] = field(default_factory=lambda: [{}])  # what a restore may give now
    lives: int = 0
    folder: Path = field(init=False)
    writer: Writer = field(init=False)
    maps: dict[str, mmap.mmap] = field(default_factory=dict)  # into files of the folder, their descriptors closed
    held: dict[str, IO[bytes]] = field(default_factory=dict)  # files that stay open

    def begin(self) -> None:
        """A new attempt: it must find an allowed state, and then only that one and later ones are allowed."""
        self.store.calls_left = None
        self.lives += 1
        self.folder = self.top / f"life-{self.lives}"
        self.folder.mkdir()
        self.maps.clear()
        self.let_go()
        self.writer = Writer(self.store, PREFIX, self.folder, processes=lambda: (os.getpid(),))
        self.writer.claim(Limit(2))
        found = restore(self.store, PREFIX, self.folder, Limit(2))
        assert not found.corrupt
        self.writer.start_from(found)
        state = self.state()
        assert state in self.allowed, f"restored {state}, allowed were {self.allowed}"
        self.allowed = [state]

    def state(self) -> State:
        return state_of(self.folder)

    def let_go(self) -> None:
        for file in self.held.values():
            file.close()
        self.held.clear()

    def make_way(self, name: str) -> Path:
        """Where a file of this name can be written: what else has the name is removed."""
        path = self.folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.is_symlink():
            path.unlink()
        return path

    def hold(self, name: str, content: bytes, *, appends: bool) -> None:
        """Open a file, write, and keep it open; as logs do, or as databases do that write in place."""
        path = self.make_way(name)
        path.touch()
        if name not in self.held:
            self.held[name] = path.open("ab" if appends else "r+b", buffering=0)
        self.held[name].write(content)
        if not appends:
            self.held[name].seek(0)

    def write_through_map(self, name: str, content: bytes) -> None:
        """As a program does that keeps its state in a map: no time of the file need change."""
        file = self.make_way(name)
        if not file.exists() or file.stat().st_size != len(content):
            file.write_bytes(content)
        if name not in self.maps:
            with file.open("r+b") as opened:
                self.maps[name] = mmap.mmap(opened.fileno(), len(content))
        if self.maps[name].size() == len(content):
            self.maps[name][:] = content

    def save_without_folder(self) -> None:
        """Nothing is published of a folder that is not there."""
        aside = self.folder.with_name("aside")
        self.folder.rename(aside)
        with pytest.raises(Torn):
            self.writer.save(Limit(0.2))
        aside.rename(self.folder)

    def save(self) -> None:
        state = self.state()
        self.allowed.append(state)  # from the moment that the manifest may have landed
        try:
            saved = self.writer.save(Limit(5))
        except (StoreError, Torn):  # Torn: just emptied, which is not taken for a state of its own
            return
        assert not saved.missed
        if saved.name:  # an empty folder, before anything was ever saved, is no checkpoint
            self.allowed = [state]
        if saved.is_new:
            try:
                self.writer.prune(Limit(5))
            except StoreError:
                return


def apply(life: Life, step: tuple[object, ...]) -> None:  # noqa: C901 - one case a step
    match step:
        case ("write", str(name), int(content)):
            beside = life.folder.parent / "beside"
            beside.write_bytes(b"%d" % content * 9)
            beside.replace(life.make_way(name))
        case ("overwrite", str(name), int(content)):
            life.make_way(name).write_bytes(b"%d" % content * 9)
        case ("remove", str(name)):
            life.make_way(name).unlink(missing_ok=True)
        case ("folder", str(name), int(content)):
            life.make_way(name).unlink(missing_ok=True)
            (life.folder / name).mkdir()
            if content:
                (life.folder / name / "inner").write_bytes(b"%d" % content * 9)
        case ("link", str(name), int(content)):
            life.make_way(name).unlink(missing_ok=True)
            (life.folder / name).symlink_to(f"to-{content}")
        case ("append", str(name), int(content)):
            life.hold(name, b"%d" % content, appends=True)
        case ("write in place and keep open", str(name), int(content)):
            life.hold(name, b"%d" % content * 9, appends=False)
        case ("close all",):
            life.let_go()
        case ("the clock is set", int(hours)):
            Clock.offset_ns = -hours * 3600 * 10**9
        case ("map", str(name), int(content)):
            life.write_through_map(name, b"%d" % content * 9)
        case ("unmap", str(name)):
            if (gone := life.maps.pop(name, None)) is not None:
                gone.close()
        case ("set the time back", str(name)):
            with contextlib.suppress(FileNotFoundError):
                os.utime(life.folder / name, ns=(10**18, 10**18))
        case ("folder is away",):
            life.save_without_folder()
        case ("save",):
            life.save()
        case ("kill",):
            life.begin()
        case ("save and fail", int(calls), bool(takes_effect), bool(is_lost_answer)):
            life.store.arm(calls, takes_effect=takes_effect, is_lost_answer=is_lost_answer)
            try:
                life.save()
                life.store.calls_left = None
            except HostIsGone:
                life.begin()
        case ("old attempt saves", int(content)):
            old, life.store.calls_left = life.writer, None
            old_folder = life.folder
            life.begin()
            (old_folder / "old").write_bytes(b"old%d" % content)
            try:
                old.save(Limit(5))
                old.prune(Limit(5))
            except Superseded:
                life.allowed.append(state_of(old_folder))
        case _:
            raise AssertionError(step)


NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("overwrite"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("folder"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("link"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("append"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("write in place and keep open"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("close all")),
        st.tuples(st.just("the clock is set"), st.integers(0, 1)),
        st.tuples(st.just("map"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("unmap"), NAMES),
        st.tuples(st.just("set the time back"), NAMES),
        st.tuples(st.just("folder is away")),
        st.tuples(st.just("save")),
        st.tuples(st.just("kill")),
        st.tuples(st.just("save and fail"), st.integers(0, 6), st.booleans(), st.booleans()),
        st.tuples(st.just("old attempt saves"), st.integers(0, 3)),
    ),
    min_size=3,
    max_size=25,
)


@pytest.fixture(autouse=True, scope="module")
def _a_lost_answer_is_not_asked_for_again() -> Iterator[None]:
    """The pause before another try is longer than a save's limit, so that each failure is seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deadline, "FIRST_WAIT_SECONDS", 60.0)
        patch.setattr(snapshot, "SETTLE_SECONDS", 0.05)  # for files that stay open: nobody writes meanwhile
        real_ns = time.time_ns
        patch.setattr(time, "time_ns", lambda: real_ns() + Clock.offset_ns)
        patch.setattr(time, "time", lambda: time.time_ns() / 1e9)
        yield


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_a_restore_gives_a_published_state_never_older_than_the_last_acknowledged(
    steps: list[tuple[object, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as top:
        life = Life(top=Path(top), store=Failing(Path(top, "store")))
        Clock.offset_ns = 0
        life.begin()
        for step in steps:
            apply(life, step)
        life.begin()
        life.let_go()
