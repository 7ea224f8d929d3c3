"""The error tree of the whole product, including the container's runtime. Each class says whether it is transient.

SpotbatchError
├── InvalidInput          the caller sent something wrong: what, the value, the fix            (exit 2)
│   ├── InvalidJob        a job definition, job request or job id that AWS Batch would refuse
│   ├── InvalidSetting    a variable or argument of the runtime that cannot be used   (spotrun: exit 125)
│   └── BadName           a key that no file can have, a file that no key can name    (spotrun: 125, or 220 at the end)
├── NotFound              a job, queue, stack or file that is not there                         (exit 3)
├── Unavailable           AWS, the local region or the store does not answer          may pass  (exit 4)
│   ├── Denied            it answers, and refuses us: credentials, rights
│   ├── Damaged           what was kept there cannot be read any more
│   ├── HostFault         this host cannot do it now, another may: its disk is full   may pass
│   └── StoreError        the artifact store does not answer the runtime              may pass
│       ├── Refused       it answers, but refuses to serve us: no bucket, no permission
│       └── Missing       the key is not there
├── Corrupt               what came back from the store is not what was stored there
│   └── Invalid           it is what was stored, but not a restorable checkpoint: reading again would not help
├── Torn                  a checkpoint file was being written while it was read       may pass
├── Superseded            a newer attempt of the same work has started: this one must not save any more
├── JobFailed             the work was done and some of it ended FAILED                         (exit 1)
└── BrokenInvariant       the rulebook contradicts itself: a bug of ours, with the job's story  (exit 70)

Only `cli/main.py` turns these into exit codes, and `runtime/attempt.py` into those of `spotrun`. The local region's
`ApiError` stays outside: it is not a failure of ours but a response, with one of AWS's codes, on its way to a client.
"""

from spotbatch.batch.light_types import ClassVar


class SpotbatchError(Exception):
    """Any error reported instead of a stack trace. Its text is complete: what, the value, the fix."""

    exit_code: ClassVar[int] = 1
    is_transient: ClassVar[bool] = False  # whether the same call may succeed later without any change by the caller


class InvalidInput(SpotbatchError):
    """The caller sent something invalid; nothing was changed."""

    exit_code = 2


class InvalidJob(InvalidInput):
    """A job definition, job request or job id that AWS Batch would refuse."""


class InvalidSetting(InvalidInput):
    """A variable or argument of the runtime that cannot be used."""


class BadName(InvalidInput):
    """A key that no file can have, or a file's name that no key can have."""


class NotFound(SpotbatchError):
    """A job, queue, stack or file that is not there."""

    exit_code = 3


class Unavailable(SpotbatchError):
    """AWS, the local region, the artifact store or this machine cannot do it now."""

    exit_code = 4
    is_transient = True


class Denied(Unavailable):
    """AWS answers but refuses us: no credentials, or none with permission."""

    is_transient = False


class Damaged(Unavailable):
    """Stored data (a journal, a document in the store) can no longer be read."""

    is_transient = False


class HostFault(Unavailable):
    """This host cannot do it now; another may be able to."""


class StoreError(Unavailable):
    """The artifact store does not answer the runtime."""


class Refused(StoreError):
    """The store answers but refuses to serve us: no bucket, no permission."""

    is_transient = False


class Missing(StoreError):
    """The key is not in the store."""

    is_transient = False


class Corrupt(SpotbatchError):
    """What came back from the store is not what was stored there."""


class Invalid(Corrupt):
    """It is what was stored there, but not something that can be restored."""


class Torn(SpotbatchError):
    """A checkpoint file was being written while it was read."""

    is_transient = True


class Superseded(SpotbatchError):
    """A newer attempt of the same work has started."""


class JobFailed(SpotbatchError):
    """The work was done, but some of it ended FAILED."""

    exit_code = 1


class BrokenInvariant(SpotbatchError):
    """The rulebook contradicts itself: a bug of ours. Carries the story of the job concerned."""

    exit_code = 70
