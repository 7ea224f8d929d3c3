"""Everything that one attempt does with the store, as work for the background thread."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping

from spotbatch.batch import artifacts
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import BadName, HostFault, Missing, Refused, StoreError, Superseded
from spotbatch.batch.light_dataclass import dataclass
from spotbatch.batch.light_types import TYPE_CHECKING
from spotbatch.runtime.checkpoints.claims import Claims
from spotbatch.runtime.checkpoints.names import manifest_names
from spotbatch.runtime.checkpoints.open_rule import OpenRule, Unfinished
from spotbatch.runtime.checkpoints.results import Restored, Saved
from spotbatch.runtime.checkpoints.room import is_empty, is_restore_under_way, make_room
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say, say_on_change
from spotbatch.runtime.outputs import Keys, Uploaded, finish_upload, list_outputs, send_file, upload_outputs
from spotbatch.runtime.settings import Identity
from spotbatch.runtime.storage.store import Store

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.writer import Writer

RECORD_SECONDS = 10.0  # longest wait for writing a record or progress: they are not worth more
SUSPECTS = "suspects"
ATTEMPTS_THAT_MUST_SEE_IT = 3
FAILED_OUTPUT_BYTES = 64 * 1024 * 1024  # limit on the partial outputs kept from a failed attempt


@dataclass(frozen=True, kw_only=True)
class Past:
    """What earlier attempts at this work left in the store."""

    attempt: int  # of this attempt
    unhealthy: int  # how many of this job's attempts ended unhealthy


class AttemptStore:
    """The store as this attempt uses it. Methods block; the background thread calls them one at a time."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        checkpoint_folder: Path,
        *,
        scratch: Path | None = None,
        exclude: tuple[str, ...] = (),
        processes: Callable[[], Iterable[int]] = tuple,
        open_rule: OpenRule = OpenRule.AUTO,
    ) -> None:
        """`processes` are those that may be writing to the checkpoint folder."""
        self._store = store
        self._run = identity.run_id
        self._index = identity.array_index
        self._identity = identity
        self._checkpoints = artifacts.checkpoint_prefix(self._run, self._index)
        self._claims = Claims(store, self._checkpoints)
        self._folder = checkpoint_folder
        self._scratch = scratch
        self._exclude = exclude
        self._processes = processes
        self._open_rule = open_rule
        self._made_writer: Writer | None = None
        self.is_superseded = False

    def _writer(self) -> "Writer":
        """Created when first needed: it takes a third of the start of a short command that has nothing to save."""
        if self._made_writer is None:
            from spotbatch.runtime.checkpoints.writer import Writer

            self._made_writer = Writer(
                self._store,
                self._checkpoints,
                self._folder,
                exclude=self._exclude,
                processes=self._processes,
                scratch=self._scratch,
                open_rule=self._open_rule,
                claims=self._claims,
            )
        return self._made_writer

    def look_back(self, limit: Limit) -> Past:
        """Number this attempt after those of the same job; another job of the same run does not lose its records."""
        prefix = f"{artifacts.unit_prefix(self._run, self._index)}/attempts/"
        keys = retrying(lambda: sorted(key for key, _ in self._store.list(prefix)), limit)
        numbers = {int(stem) for key in keys if (stem := Path(key).stem).isdecimal()}
        unhealthy, mine = 0, self._identity.attempt
        for key in keys:
            record = self._read_json(key, limit)
            is_ours = record.get("job_id") == self._identity.job_id
            unhealthy += is_ours and record.get("outcome") == "unhealthy"
            if mine is not None and Path(key).stem == f"{mine:02d}" and not is_ours:
                mine = None
        return Past(attempt=mine or max(numbers, default=0) + 1, unhealthy=unhealthy)

    def claim(self, limit: Limit) -> None:
        """Stop older attempts at this work from publishing anything more, and clean up what killed ones left behind."""
        self._claims.take(limit)
        with contextlib.suppress(OSError):  # what cannot be cleaned up now is left to the next attempt
            self._store.clear_leftovers(f"{artifacts.unit_prefix(self._run, self._index)}/")

    def check_fence(self, limit: Limit) -> None:
        """Raises Superseded if a newer attempt at this work has begun."""
        self._claims.check(limit)

    @property
    def newest_checkpoint(self) -> str:
        """The name of the last checkpoint that was restored or published; "" if there is none."""
        return "" if self._made_writer is None else self._made_writer.newest

    def restore(self, limit: Limit) -> Restored:
        """Raises HostFault if there are checkpoints but this host could verify none of them."""
        make_room(self._folder)
        names = {*retrying(lambda: manifest_names(self._store, self._checkpoints), limit), *self._claims.names_seen}
        if not names and not is_restore_under_way(self._folder):
            return Restored()
        from spotbatch.runtime.checkpoints.restore import restore  # a first attempt need not wait for it

        found = restore(self._store, self._checkpoints, self._folder, limit, self._scratch, seen=names)
        if found.manifest is None and found.corrupt:
            self._begin_anew(found, limit)
        elif found.manifest is not None and found.manifest.epoch >= self._claims.epoch:
            self._claims.take(limit, above=found.manifest.epoch)  # a listing did not show it when we claimed
        self._writer().start_from(found)
        return found

    def _begin_anew(self, found: Restored, limit: Limit) -> None:
        """There are checkpoints, but none could be restored. Starting over may discard much work, and a host with bad
        memory or a bad connection to the store sees damage that is not there: so several attempts must see it first.

        Raises:
            HostFault: too few have seen it yet.
        """
        prefix = f"{self._checkpoints}/{SUSPECTS}/"
        if found.unverified:
            newest = max(found.unverified)
            retrying(lambda: self._store.put(f"{prefix}{newest}/{self._claims.epoch:06d}", b""), limit)
            seen = len(retrying(lambda: list(self._store.list(f"{prefix}{newest}/")), limit))
            if seen < ATTEMPTS_THAT_MUST_SEE_IT:
                raise HostFault(
                    f"none of {len(found.corrupt)} checkpoints could be verified on this host: not begun anew, which "
                    f"would throw their work away. After {ATTEMPTS_THAT_MUST_SEE_IT} attempts that see this "
                    f"(this is number {seen}) the work begins anew"
                )
        say(f"no whole checkpoint is left ({len(found.corrupt)} are not): starting from the beginning")

    def warm_up(self) -> None:
        self._writer().warm_up()

    def unfinished(self) -> Mapping[str, Unfinished]:
        """Checkpoint files that are half written now, and how to describe them."""
        return self._writer().unfinished()

    def save(self, limit: Limit, *, is_asked: bool, half_written: Mapping[str, Unfinished]) -> Saved:
        """Publish the folder and prune; what cannot be pruned now is pruned after the next save."""
        if self.is_superseded:
            raise Superseded("a newer attempt of this work has begun; this one saves no more")
        if self._made_writer is None and self._is_folder_empty():
            return Saved(name="", checkpoint_bytes=0, is_new=False, looked_at=time.time())
        saved = self._writer().save(limit, is_asked=is_asked, half_written=half_written)
        if saved.is_new:
            try:
                self._writer().prune(limit)
            except Superseded as error:
                self.is_superseded = True
                say(str(error))
            except (StoreError, HostFault, OSError) as error:  # the save is stored regardless
                say_on_change("prune", f"old checkpoints stay for now, deleting failed: {error}")
        return saved

    def _is_folder_empty(self) -> bool:
        try:
            return is_empty(self._folder)
        except OSError:
            return False

    def upload_outputs(self, folder: Path, limit: Limit) -> Uploaded:
        """Raises Superseded: the outputs belong to the attempt that replaced this one, and may already be there."""
        self._claims.check(limit)
        return upload_outputs(self._store, self._output_keys(), folder, limit)

    def finish_upload(self, kept: Path | None, limit: Limit) -> Uploaded | None:
        """Send what an earlier attempt of a successful command could not; None if there is nothing to finish."""
        return finish_upload(self._store, self._output_keys(), kept, limit)

    def _output_keys(self) -> Keys:
        return Keys(
            prefix=artifacts.output_prefix(self._run, self._index),
            marker=artifacts.output_marker(self._run, self._index),
            pending=artifacts.output_pending(self._run, self._index),
        )

    def keep_failed(self, attempt: int, tail: bytes, folder: Path, limit: Limit) -> None:
        """Keep the last log lines and, up to a limit, partial outputs, separate from real outputs."""
        prefix = artifacts.failed_prefix(self._run, self._index, attempt)
        retrying(lambda: self._store.put(f"{prefix}/log.txt", tail), limit)
        left_bytes = FAILED_OUTPUT_BYTES
        for file in list_outputs(folder, is_strict=False):
            left_bytes -= file.size
            if left_bytes < 0:
                say(f"kept only the first {FAILED_OUTPUT_BYTES >> 20} MiB of the failed attempt's outputs")
                return
            try:
                send_file(self._store, f"{prefix}/output/{file.path}", folder / file.path, limit)
            except (Refused, BadName, OSError) as problem:  # one file that cannot be kept does not affect the others
                say(f"not kept from the failed attempt: {problem}")

    def put_record(self, record: AttemptRecord, limit: Limit | None = None) -> None:
        key = artifacts.attempt_record(self._run, self._index, record.attempt)
        retrying(lambda: self._store.put(key, record.to_json()), limit or Limit(RECORD_SECONDS))

    def put_progress(self, data: bytes) -> None:
        self._store.put(artifacts.progress_key(self._run, self._index), data)

    def _read_json(self, key: str, limit: Limit) -> dict[str, object]:
        import json  # 2 ms, which a first attempt need not pay

        try:
            found = json.loads(retrying(lambda: self._store.get(key), limit))
        except (Missing, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}
