"""What the operating system's errors mean for an attempt: whether a retry may succeed, later or on another host.

Our own errors are in `batch.errors`; each class states this itself.
"""

import errno

from spotbatch.batch.errors import HostFault, InvalidSetting, SpotbatchError

# Errors about a name or permissions, which any host would raise; all others may be specific to this host.
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
    """Whether a retry may succeed, later or on another host."""
    if isinstance(problem, OSError):
        return problem.errno not in _PERMANENT
    return isinstance(problem, SpotbatchError) and problem.is_transient


def is_index_lost(problem: BaseException) -> bool:
    """Whether SQLite could not go on, most likely for lack of space. Checked by its module's name: importing it costs
    10 ms, which a command that saves nothing need not pay.
    """
    return type(problem).__module__ == "sqlite3"


def is_about_the_name(error: OSError) -> bool:
    """Whether the system refused a path because of its name or location, not because of what is there."""
    return error.errno in _NAMES


def local_error(text: str, error: OSError) -> SpotbatchError:
    """A HostFault if another host may succeed, otherwise an InvalidSetting."""
    return HostFault(text) if may_pass(error) else InvalidSetting(text)
