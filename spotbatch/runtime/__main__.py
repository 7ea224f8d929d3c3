"""The command `spotrun -- command ...`, also `python -m spotbatch.runtime -- ...`: makes any command Spot-safe."""

import gc
import os
import signal
import sys
from collections.abc import Sequence

HELD = (signal.SIGTERM, signal.SIGINT)


def main(argv: Sequence[str] | None = None) -> None:
    """Run, and exit with the exit code; threads that hang in the network are left behind.

    A signal that arrives during the remaining imports is held until `Signals` is there to take it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    gc.disable()  # imports create no garbage, and collecting takes a tenth of the start
    from spotbatch.runtime.cli import run

    gc.freeze()
    gc.enable()
    code = run(list(sys.argv[1:] if argv is None else argv))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
