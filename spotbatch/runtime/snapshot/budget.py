"""Whether a snapshot fits the time that a notice leaves. Pure."""

RESERVE_SECONDS = 20.0  # for the checkpoint, the record, and whatever is slower than thought
DEFAULT_BYTES_PER_SECOND = 125.0 * (1 << 20)  # what a gp3 volume gives unless more is paid for (EBS user guide)
LEAST_MEASURED_BYTES = 64 << 20  # of uploads, before their speed says anything
_MIB = 1 << 20


def upload_speed(uploaded_bytes: int, seconds: float) -> float:
    """Bytes a second to the store, from the saves so far; a default if they were too small to tell."""
    if uploaded_bytes < LEAST_MEASURED_BYTES or seconds <= 0:
        return DEFAULT_BYTES_PER_SECOND
    return uploaded_bytes / seconds


def too_large(memory_bytes: int, file_bytes: int, left_seconds: float, bytes_per_second: float) -> str | None:
    """Why it would not be stored in time, with both figures; None if it should be."""
    speed = min(bytes_per_second, DEFAULT_BYTES_PER_SECOND)
    needed_seconds, usable_seconds = (memory_bytes + file_bytes) / speed, left_seconds - RESERVE_SECONDS
    if needed_seconds <= usable_seconds:
        return None
    return (
        f"{memory_bytes / _MIB:.0f} MiB of memory and {file_bytes / _MIB:.0f} MiB of files need about "
        f"{needed_seconds:.0f} s at {speed / _MIB:.0f} MiB/s, and {max(0.0, usable_seconds):.0f} s are left "
        f"({left_seconds:.0f} s until the host goes, less {RESERVE_SECONDS:.0f} s)"
    )
