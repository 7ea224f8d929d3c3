"""The error tree of the whole product; only `cli/main.py` turns these into exit codes.

SpotbatchError
├── InvalidInput          the caller sent something wrong: what, the value, the fix            (exit 2)
│   └── InvalidJob        a job definition, job request or job id that AWS Batch would refuse
├── NotFound              a job, queue, stack or file that is not there                         (exit 3)
├── Unavailable           AWS, the local region or the store does not answer, or refuses us     (exit 4)
├── JobFailed             the work was done and some of it ended FAILED                         (exit 1)
└── BrokenInvariant       the rulebook contradicts itself: a bug of ours, with the job's story  (exit 70)
"""


class SpotbatchError(Exception):
    """Anything that this product says instead of a stack trace. Its text is complete: what, the value, the fix."""

    exit_code = 1


class InvalidInput(SpotbatchError):
    """The caller sent something wrong; nothing was changed."""

    exit_code = 2


class InvalidJob(InvalidInput):
    """A job definition, job request or job id that AWS Batch would refuse."""


class NotFound(SpotbatchError):
    """A job, queue, stack or file that is not there."""

    exit_code = 3


class Unavailable(SpotbatchError):
    """AWS, the local region or the artifact store does not answer, or refuses us."""

    exit_code = 4


class JobFailed(SpotbatchError):
    """The work was done, and some of it ended FAILED."""

    exit_code = 1


class BrokenInvariant(SpotbatchError):
    """The rulebook contradicts itself: a bug of ours. Carries the story of the job concerned."""

    exit_code = 70
