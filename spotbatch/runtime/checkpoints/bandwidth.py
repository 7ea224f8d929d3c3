"""Whether what was saved can be restored: an estimate from the bandwidth of past saves."""

from spotbatch.runtime.checkpoints.upload import PACK_BYTES

LEAST_BYTES = 4 * 1024 * 1024  # of a save that says something about bandwidth: smaller ones are all latency
SHARE_OF_HOST_LIFE = 0.5  # a restore that takes longer than this leaves too little time to work


class Bandwidth:
    """Bytes per second to the store, smoothed over saves."""

    def __init__(self) -> None:
        self.bytes_per_second: float | None = None

    def learn(self, sent_bytes: int, seconds: float) -> None:
        """Take in one save: the bytes sent and the duration."""
        if sent_bytes < LEAST_BYTES or seconds <= 0:
            return
        now = sent_bytes / seconds
        self.bytes_per_second = now if self.bytes_per_second is None else (self.bytes_per_second + now) / 2

    def restore_seconds(self, checkpoint_bytes: int) -> float | None:
        """How long a restore of this size would take; None if nothing is known yet."""
        return None if self.bytes_per_second is None else checkpoint_bytes / self.bytes_per_second

    def trouble(self, checkpoint_bytes: int, *, still_seconds: float, host_life_seconds: float) -> str | None:
        """Why a checkpoint of this size could not be restored, or None.

        A restore is abandoned when nothing arrives for `still_seconds`, and it must finish well before the next
        interruption, which comes after `host_life_seconds` on average.
        """
        seconds = self.restore_seconds(checkpoint_bytes)
        if seconds is None or self.bytes_per_second is None:
            return None
        size, speed = f"{checkpoint_bytes / 1e6:.0f} MB", f"{self.bytes_per_second / 1e6:.2f} MB/s"
        what = f"the checkpoint has {size}, and its saves moved {speed}: a restore would"
        if min(checkpoint_bytes, PACK_BYTES) / self.bytes_per_second > still_seconds:
            return f"{what} stand still for longer than SPOTBATCH_RESTORE_SECONDS={still_seconds:g}, and fail"
        if seconds > SHARE_OF_HOST_LIFE * host_life_seconds:
            return (
                f"{what} take {seconds:.0f} s, while hosts live {host_life_seconds:.0f} s on average "
                "(SPOTBATCH_INTERRUPTIONS_PER_HOUR): the work may never get on with so much state"
            )
        return None
