"""What the last lines of a log reveal about a failure's cause: pure, with patterns of real program output."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LONGEST_LINE: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class LogCause:
    """A likely cause in words, the line that shows it, and the fix."""

    cause: str
    line: str
    fix: str


_NO_MODULE: Final = (
    r"ModuleNotFoundError: No module named '([^']+)'|ImportError: No module named (\S+)|Cannot find module '([^']+)'"
)
_NO_FILE: Final = (
    r"FileNotFoundError.*?: '([^']+)'|cannot (?:open|access|stat) '?([^':]+?)'?: No such file|"
    r"(?:^|[:\s])'?([^\s':]+)'?: No such file or directory"
)
_NO_NETWORK: Final = (
    r"Could not resolve host|Name or service not known|Temporary failure in name resolution|"
    r"Connection (?:refused|timed out)|Network is unreachable"
)

# In order: the first pattern matched by any of the last lines, from the last line up. `{}` is the captured text.
_PATTERNS: Final = tuple(
    (re.compile(pattern), cause, fix)
    for pattern, cause, fix in (
        (
            _NO_MODULE,
            "the module {} is not in the image",
            "install it in the image and push that: spotbatch image push",
        ),
        (
            r"(?:MemoryError|std::bad_alloc|Cannot allocate memory|[Oo]ut ?[Oo]f ?[Mm]emory)",
            "it ran out of memory",
            "ask for more with --memory",
        ),
        (
            r"(?:No space left on device|ENOSPC|Disk quota exceeded)",
            "its disk was full",
            "a larger volume for the hosts (setting volume_gib), or less in the scratch folder",
        ),
        (
            r"(?:[Ee]xec format error|cannot execute binary file)",
            "the program is built for another architecture than the host has",
            "build it for the hosts: docker buildx build --platform linux/amd64 (or linux/arm64)",
        ),
        (
            r"can't open file '([^']+)'",
            "the program's file {} is not in the container",
            "it may be on your machine only: put it into the image (spotbatch image push)",
        ),
        (
            _NO_FILE,
            "the file {} is not in the container",
            "it may be on your machine only: send it with --inputs, or put it into the image (spotbatch image push)",
        ),
        (
            r"(?:sh|bash)(?:: line)?:? ?\d*: ([^:\s]+): (?:command )?not found",
            "the program {} is not in the image",
            "install it in the image and push that: spotbatch image push",
        ),
        (
            r"(?:AccessDenied|Access Denied|not authorized to perform|UnauthorizedOperation|\b403\b.*Forbidden)",
            "AWS refused it a permission",
            "give the job's role (output of the stack, docs/security.md) the permission that the line names",
        ),
        (
            r"(?:PermissionError|Permission denied)",
            "it has no right to a file or folder",
            "write below $SPOTBATCH_OUTPUT_DIR, $SPOTBATCH_CHECKPOINT_DIR or $TMPDIR; make programs executable",
        ),
        (
            _NO_NETWORK,
            "it could not reach another machine",
            "check the address, and that the stack's egress setting gives hosts a way out",
        ),
        (
            r"(?:[Tt]imed? ?out|TimeoutError|DeadlineExceeded)",
            "something that it waited for took too long",
            "see its log for what it waited for",
        ),
        (
            r"^(?:[\w.]+\.)?([A-Z]\w*(?:Error|Exception|Warning|Interrupt|Exit))\b(?::.*)?$",
            "the program raised {}",
            "see the whole traceback in its log",
        ),
    )
)


def cause_in(lines: Sequence[str]) -> LogCause | None:
    """The likely cause in the last lines of a log, oldest first; None if no line shows one."""
    for pattern, cause, fix in _PATTERNS:
        for line in reversed(lines):
            if found := pattern.search(line):
                named = next((group for group in found.groups() if group), "")
                return LogCause(cause=cause.format(named), line=short(line), fix=fix)
    return None


def last_line(lines: Sequence[str]) -> str:
    """The last non-empty line, cut to fit a screen; "" if there is none."""
    return short(next((line for line in reversed(lines) if line.strip()), ""))


def short(line: str) -> str:
    """A line without surrounding white space, cut at 200 characters."""
    bare = line.strip()
    return bare if len(bare) <= _LONGEST_LINE else f"{bare[: _LONGEST_LINE - 1]}…"


def signature(line: str) -> str:
    """A common form for lines that differ only in numbers, hashes and folders, so that failures can be counted."""
    without_folders = re.sub(r"(?:/[^\s/'\":]+)+/", "/", line)  # of a scratch folder, say, which no two attempts share
    return re.sub(r"\b[0-9a-f]{8,}\b|\d+", "#", without_folders)
