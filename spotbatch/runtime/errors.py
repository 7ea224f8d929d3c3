"""What can go wrong in the runtime; a message says what, the value, and the fix. The class says whether it may pass.

SpotrunError
├── InvalidSetting     a variable or argument that cannot be used                 (exit 125, before the command starts)
├── BadName            a key that no file can have, a file that no key can name   (permanent: 125, or 212 at the end)
├── HostFault          this host cannot do it now, another may: its disk is full, a mount is busy       (is retried)
├── StoreError         the artifact store does not answer: may pass, is retried
│   ├── Refused        it answers, and will not serve us: is not retried
│   └── Missing        the key is not there
├── Corrupt            what came back from the store is not what was stored there
│   └── Invalid        it is, and is no checkpoint that we may restore: read again it would be the same
├── Torn               a checkpoint file was being written while it was read
└── Superseded         a newer attempt of the same work has begun: this one must not save any more
"""

import errno


class SpotrunError(Exception):
    """Anything that the runtime says instead of a stack trace."""


class InvalidSetting(SpotrunError):
    """A variable or argument that cannot be used."""


class BadName(SpotrunError):
    """A key that no file can have, or a file's name that no key can have."""


class HostFault(SpotrunError):
    """This host cannot do it now; another may."""


class StoreError(SpotrunError):
    """The artifact store does not answer; this may pass."""


class Refused(StoreError):
    """The store answers, and will not serve us: no bucket, no permission."""


class Missing(StoreError):
    """The key is not in the store."""


class Corrupt(SpotrunError):
    """What came back from the store is not what was stored there."""


class Invalid(Corrupt):
    """It is what was stored there, and nothing that may be restored."""


class Torn(SpotrunError):
    """A checkpoint file was being written while it was read."""


class Superseded(SpotrunError):
    """A newer attempt of the same work has begun."""


# What the system says of a name or of rights, and would say on any host; all else may be this host's trouble alone.
_PERMANENT = frozenset(
    (
        errno.EACCES,
        errno.EEXIST,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.EROFS,
    )
)
_NAMES = frozenset((errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTDIR))


def may_pass(problem: BaseException) -> bool:
    """Whether the same may go well later, or on another host."""
    if isinstance(problem, StoreError):
        return not isinstance(problem, Refused | Missing)
    if isinstance(problem, OSError):
        return problem.errno not in _PERMANENT
    return isinstance(problem, HostFault)


def is_about_the_name(error: OSError) -> bool:
    """Whether the system refused a path for what it is called or where it lies, not for what is there."""
    return error.errno in _NAMES


def local_error(text: str, error: OSError) -> SpotrunError:
    """A HostFault where another host may do it, else an InvalidSetting."""
    return HostFault(text) if may_pass(error) else InvalidSetting(text)
