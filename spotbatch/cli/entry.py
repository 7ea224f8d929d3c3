"""The `spotbatch` program: says what to install if only the runtime is installed, as in a container."""

import gc
import sys
from typing import Final

_COLLECT_AFTER: Final = 100_000  # new objects; Python's own 700 makes it scan what imports made a hundred times over


def run() -> None:
    """The console script's entry point. Ctrl-C while commands are being loaded is not an error of ours either."""
    gc.set_threshold(_COLLECT_AFTER)
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> None:
    try:
        from spotbatch.cli.main import run as run_command_line
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("spotbatch"):
            raise
        sys.stderr.write(
            f"error: the command line needs {error.name}, which is not installed here: pip install 'spotbatch[cli]' "
            "(or [aws] for deploying, [local] for the local region, [all] for everything)\n"
        )
        sys.exit(4)
    run_command_line()
