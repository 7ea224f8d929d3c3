"""`pathlib.Path` for the container's start path, which type checkers read as the real one.

Importing `pathlib` also imports `re`, `fnmatch` and `urllib.parse`, and takes 9 ms of the processor time of each
start; each path that it makes is slow, too. This one knows what a start and an end need, and asks `pathlib` for
everything else. It may be mixed with real paths: it equals those, and is accepted wherever `os.PathLike` is.
"""

import os

from spotbatch.batch.light_types import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

else:

    class Path(os.PathLike):
        """An immutable path of this system."""

        __slots__ = ("_text",)

        def __init__(self, *parts):
            text = os.path.join(*map(os.fspath, parts)) if parts else "."
            self._text = text if _is_plain(text) else str(_real(text))

        def __fspath__(self):
            return self._text

        __str__ = __fspath__

        def __repr__(self):
            return f"Path({self._text!r})"

        def __eq__(self, other):
            return self._text == os.fspath(other) if isinstance(other, os.PathLike) else NotImplemented

        def __lt__(self, other):
            return _real(self) < _real(other)

        def __hash__(self):
            return hash(_real(self))

        def __reduce__(self):
            return Path, (self._text,)

        def __truediv__(self, name):
            return Path(self, name)

        def __getattr__(self, name):
            return getattr(_real(self), name)

        @property
        def name(self):
            return "" if self._text in (".", "/") else self._text.rpartition("/")[2]

        @property
        def parent(self):
            if self._text.startswith("//"):  # two slashes, unlike three, are kept
                return Path(_real(self).parent)
            head, slash, _ = self._text.rpartition("/")
            return Path(head or slash or ".")

        def with_name(self, name):
            return self.parent / name if name and "/" not in name else _real(self).with_name(name)

        def absolute(self):
            return self if self._text.startswith("/") else Path(os.getcwd(), self)

        def stat(self, *, follow_symlinks=True):
            return os.stat(self._text, follow_symlinks=follow_symlinks)

        def lstat(self):
            return os.lstat(self._text)

        def exists(self):
            return os.path.exists(self._text)

        def open(self, mode="r", buffering=-1, encoding=None, errors=None, newline=None):
            return open(self._text, mode, buffering, encoding, errors, newline)

        def read_bytes(self):
            with open(self._text, "rb", 0) as opened:
                return opened.read()

        def read_text(self, encoding=None, errors=None):
            with open(self._text, encoding=encoding, errors=errors) as opened:
                return opened.read()

        def mkdir(self, mode=0o777, parents=False, exist_ok=False):
            if parents:
                os.makedirs(self._text, mode, exist_ok=exist_ok)
                return
            try:
                os.mkdir(self._text, mode)
            except OSError:
                if not (exist_ok and os.path.isdir(self._text)):
                    raise

        def unlink(self, missing_ok=False):
            try:
                os.unlink(self._text)
            except FileNotFoundError:
                if not missing_ok:
                    raise

        def rmdir(self):
            os.rmdir(self._text)

        def replace(self, target):
            os.replace(self._text, target)
            return Path(target)

        def rename(self, target):
            os.rename(self._text, target)
            return Path(target)

    def _is_plain(text):
        """Whether `pathlib` would leave it as it is: no empty name, no ".", no slash at the end."""
        padded = f"{text}/"
        return text == "/" or (text != "" and not ("//" in padded or "/./" in padded or text.startswith("./")))

    def _real(path):
        import pathlib

        return pathlib.Path(path)


__all__ = ["Path"]
