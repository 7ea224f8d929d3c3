"""Opens an artifact store by its URL: a folder (`file://`) or S3 (`s3://`)."""

from spotbatch.batch.errors import InvalidSetting
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.storage.store import FolderStore, Store


def open_store(url: str) -> Store:
    """The store that a URL names.

    Raises:
        InvalidSetting: a scheme other than file or s3, or no bucket.
    """
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    if scheme == "file" and place in ("", "localhost") and rest != place:
        return FolderStore(Path("/", unquoted(path)))
    if scheme == "s3" and _is_bucket(place):
        from spotbatch.runtime.storage.s3 import S3Store  # costs 30 ms, which a folder need not pay

        return S3Store(bucket=place, prefix=_checked(path.strip("/"), url))
    raise InvalidSetting(f"{url!r} is no artifact store: write s3://bucket/prefix or file:///absolute/folder")


def _is_bucket(place: str) -> bool:
    from spotbatch.runtime.storage.keys import is_bucket  # as above

    return is_bucket(place)


def unquoted(text: str) -> str:
    """%20 becomes a space, and so on. The library is imported only if needed: it costs 10 ms."""
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


def _checked(prefix: str, url: str) -> str:
    if prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
        raise InvalidSetting(f"{url!r}: the prefix of an artifact store holds no empty name, no . and no ..")
    return prefix
