"""What a save and a restore came to."""

from typing import TYPE_CHECKING

from spotbatch.batch.light_dataclass import dataclass, made_by
from spotbatch.runtime.checkpoints.names import ManifestName

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index
    from spotbatch.runtime.checkpoints.listing import Head


@dataclass(frozen=True, kw_only=True)
class Saved:
    """One save that was acknowledged by the store."""

    name: str  # of the checkpoint; empty where there was nothing to save yet
    checkpoint_bytes: int  # of all its files
    is_new: bool  # False: nothing had changed since the last one, and nothing was sent
    looked_at: float  # UTC epoch seconds when the folder was in this state
    uploaded_bytes: int = 0
    seconds: float = 0.0
    missed: dict[str, str] = made_by(default_factory=dict)  # files that are not in it as they were, and why


@dataclass(kw_only=True)
class Restored:
    """What a restore found."""

    manifest: "Head | None" = None  # None: there is no checkpoint that could be restored
    index: "Index | None" = None  # what is in the folder now
    corrupt: set[ManifestName] = made_by(default_factory=set)  # passed over, also after they were read again
    invalid: set[ManifestName] = made_by(default_factory=set)  # of these, those that any host would pass over
    downloaded_bytes: int = 0

    @property
    def unverified(self) -> set[ManifestName]:
        """Those that did not match their checksums here; another host may find them whole."""
        return self.corrupt - self.invalid
