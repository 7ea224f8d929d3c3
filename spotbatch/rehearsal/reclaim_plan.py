"""The disturbances of a rehearsal's second run: rounds of reclaims, a rate, or a recorded trace."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from spotbatch.batch.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from spotbatch.policy.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class ReclaimPlan:
    """How hosts are reclaimed. With a rate or a trace there are no rounds."""

    rounds: int = 2  # each round reclaims every host with running children
    reclaims_per_host_hour: float | None = None
    trace_file: Path | None = None
    trace_speed: float = 60.0  # seconds of the trace that pass per real second
    trace_polarity: str | None = None
    seed: int = 0
    faults: str | None = None  # in addition: the value of `local up --faults`

    def __post_init__(self) -> None:
        if self.reclaims_per_host_hour is not None and self.trace_file is not None:
            raise InvalidInput("--rate and --trace-file are two ways to say when hosts are reclaimed: give one of them")
        if self.reclaims_per_host_hour is not None and not 1e-6 <= self.reclaims_per_host_hour <= 1e5:
            raise InvalidInput(
                f"--rate is reclaims per host and hour, to 100,000 and above 0, not {self.reclaims_per_host_hour:g}"
            )
        if not 1e-3 <= self.trace_speed <= 1e6:
            raise InvalidInput(f"--trace-speed must be 0.001 to 1000000, not {self.trace_speed:g}")

    @property
    def in_rounds(self) -> int:
        return self.rounds if self.reclaims_per_host_hour is None and self.trace_file is None else 0

    @property
    def in_words(self) -> str:
        return self._reclaims_in_words + (f" and --faults {self.faults} (seed {self.seed})" if self.faults else "")

    @property
    def _reclaims_in_words(self) -> str:
        if self.reclaims_per_host_hour is not None:
            return f"{self.reclaims_per_host_hour:g} reclaims per host and hour (seed {self.seed})"
        if self.trace_file is not None:
            return f"the trace {self.trace_file.name}, {self.trace_speed:g} times as fast"
        return f"{self.rounds} rounds of reclaims" if self.rounds > 1 else "one round of reclaims"

    def interruptions_per_hour(self) -> float | None:
        """Per host, as chosen; for a trace at its original pace, since time is compressed only for the rehearsal.

        None for rounds, which correspond to no rate, and for a trace that never had capacity. Raises as `options` does.
        """
        if self.reclaims_per_host_hour is not None or self.trace_file is None:
            return self.reclaims_per_host_hour
        from spotbatch.pricing.instance_selection import measured_rate

        traces = self._traces(self.trace_file)
        hours = sum(sum(each.available) * each.tick_seconds for each in traces) / 3600
        taken = sum(was and not now for each in traces for was, now in pairwise(each.available))
        return measured_rate(taken, hours) if hours else None

    def options(self) -> list[str]:
        """The region's options. Raises NotFound or InvalidInput for a bad trace or faults before anything runs."""
        unkind = [] if self.faults is None else ["--faults", self._faults_option(self.faults)]
        seed = ["--seed", str(self.seed)]
        if self.reclaims_per_host_hour is not None:
            return ["--reclaims-per-host-hour", str(self.reclaims_per_host_hour), *seed, *unkind]
        if self.trace_file is None:
            return [*seed, *unkind] if unkind else []
        self._traces(self.trace_file)
        polarity = ["--trace-polarity", self.trace_polarity] if self.trace_polarity else []
        return [
            "--trace-file",
            str(self.trace_file.absolute()),
            "--trace-speed",
            str(self.trace_speed),
            *polarity,
            *unkind,
        ]

    @staticmethod
    def _faults_option(name: str) -> str:
        """The name, or the file's absolute path. Raises NotFound or InvalidInput before anything runs."""
        from spotbatch.local import faults

        faults.named(name)
        return name if name in faults.NAMES else str(Path(name).absolute())

    def _traces(self, file: Path) -> "Sequence[Trace]":
        from spotbatch.policy.trace import Polarity, traces_in

        if self.trace_polarity not in (None, *Polarity):
            raise InvalidInput(f"--trace-polarity is {' or '.join(Polarity)}, not {self.trace_polarity!r}")
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise NotFound(f"--trace-file {file} cannot be read: {error.strerror}") from error
        try:
            return traces_in(file, raw, Polarity(self.trace_polarity) if self.trace_polarity else None)
        except InvalidInput as error:
            raise InvalidInput(str(error).replace("--polarity", "--trace-polarity")) from error
