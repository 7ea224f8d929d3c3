"""The results of a save and of a restore."""

from spotbatch.batch.light_dataclass import dataclass, made_by
from spotbatch.batch.light_types import TYPE_CHECKING
from spotbatch.runtime.checkpoints.names import ManifestName

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index
    from spotbatch.runtime.checkpoints.listing import Head


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A save acknowledged by the store."""

    name: str  # of the checkpoint; empty if there was nothing to save yet
    checkpoint_bytes: int  # total bytes of its files
    is_new: bool  # False: nothing had changed since the last one, and nothing was sent
    looked_at: float  # UTC epoch seconds when the folder was in this state
    uploaded_bytes: int = 0
    seconds: float = 0.0
    missed: dict[str, str] = made_by(default_factory=dict)  # files that it lacks in their current state, and why


@dataclass(kw_only=True)
class Restored:
    """The result of a restore."""

    manifest: "Head | None" = None  # None: there is no restorable checkpoint
    index: "Index | None" = None  # what is in the folder now
    corrupt: set[ManifestName] = made_by(default_factory=set)  # skipped, even after they were read again
    invalid: set[ManifestName] = made_by(default_factory=set)  # those of them that any host would skip
    downloaded_bytes: int = 0

    @property
    def unverified(self) -> set[ManifestName]:
        """Those that did not match their checksums here; another host may find them intact."""
        return self.corrupt - self.invalid
