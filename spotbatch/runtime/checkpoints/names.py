"""The names of objects below `checkpoints/`: manifests, packs and claims, each with its writer's epoch.

`manifests/<epoch>-<sequence>-<writer>`, `packs/<epoch>-<writer>-<number>`, `claims/<epoch>-<writer>`. Each start of the
runtime takes the next epoch, so that an attempt that outlives its host's network can never appear newer than the
attempt that replaced it.
"""

from spotbatch.batch.light_types import NamedTuple
from spotbatch.runtime.storage.store import Store

MANIFESTS = "manifests"
PACKS = "packs"
CLAIMS = "claims"
_MANIFEST = r"([0-9]{1,18})-([0-9]{1,18})-([0-9A-Za-z._]{1,64})"
_MOST_DIGITS = 18


class ManifestName(NamedTuple):
    """A manifest's position in time; the greatest is the newest."""

    epoch: int
    sequence: int
    writer: str

    def __str__(self) -> str:
        return f"{self.epoch:06d}-{self.sequence:08d}-{self.writer}"


def parse_name(text: str) -> ManifestName | None:
    """None if this is not a manifest's name: other people's objects are left alone."""
    import re  # 4 ms, which a first attempt need not pay

    found = re.fullmatch(_MANIFEST, text)
    return None if found is None else ManifestName(int(found[1]), int(found[2]), found[3])


def manifest_names(store: Store, prefix: str) -> list[ManifestName]:
    """The manifests in the store, oldest first."""
    names = (parse_name(key.rpartition("/")[2]) for key, _ in store.list(f"{prefix}/{MANIFESTS}/"))
    return sorted(name for name in names if name is not None)


def has_epoch(name: str) -> bool:
    """Whether a pack or claim is ours, judging by its name."""
    epoch = name.partition("-")[0]
    return epoch.isascii() and epoch.isdecimal() and len(epoch) <= _MOST_DIGITS


def epoch_of(name: str) -> int:
    """The epoch of a pack or claim; for one that is not ours, and never deleted, an unreachable epoch."""
    return int(name.partition("-")[0]) if has_epoch(name) else 1 << 62
