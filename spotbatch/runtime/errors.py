"""What the operating system's errors mean for an attempt: whether the same may go well later, or on another host.

The errors of our own are in `batch.errors`; each class says that itself.
"""

import errno

from spotbatch.batch.errors import HostFault, InvalidSetting, SpotbatchError

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
    if isinstance(problem, OSError):
        return problem.errno not in _PERMANENT
    return isinstance(problem, SpotbatchError) and problem.is_transient


def is_index_lost(problem: BaseException) -> bool:
    """Whether SQLite could not go on, for want of room most likely. By the name of its module: importing that costs
    10 ms, which a command that saves nothing need not pay.
    """
    return type(problem).__module__ == "sqlite3"


def is_about_the_name(error: OSError) -> bool:
    """Whether the system refused a path for what it is called or where it lies, not for what is there."""
    return error.errno in _NAMES


def local_error(text: str, error: OSError) -> SpotbatchError:
    """A HostFault where another host may do it, else an InvalidSetting."""
    return HostFault(text) if may_pass(error) else InvalidSetting(text)
