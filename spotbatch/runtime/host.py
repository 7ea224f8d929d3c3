"""What the host is, according to files next to the notice: containers have no route to the instance's metadata."""

from spotbatch.runtime.light_path import Path

MOST_CHARACTERS = 64


def host_fact(notice_file: Path | None, name: str) -> str:
    """The file's single line; empty if it does not exist or does not contain a name."""
    if notice_file is None:
        return ""
    try:
        text = notice_file.with_name(name).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return text if text.isprintable() and len(text) <= MOST_CHARACTERS else ""
