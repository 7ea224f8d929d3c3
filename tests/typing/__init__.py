"""tests/typing: read by mypy, never run."""
