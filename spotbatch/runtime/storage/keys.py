"""Names on S3: which bucket names are valid, and which keys a client that treats keys as paths leaves unchanged."""

import re
from typing import Final

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")  # buckets of the early years may have capitals and _

_CONTROL: Final = frozenset(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))


def is_bucket(name: str) -> bool:
    """Whether a bucket name is valid (Amazon S3 user guide, "Bucket naming rules"); the client panics on others."""
    return _BUCKET.fullmatch(name) is not None


def is_plain(key: str) -> bool:
    """Whether obstore reads and lists this key literally: no empty name, no . and .., no control character."""
    return not _CONTROL.intersection(key) and all(part not in ("", ".", "..") for part in key.split("/"))
