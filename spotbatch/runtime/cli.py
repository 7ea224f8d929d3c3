"""The command line of `spotrun`: its help, its arguments, and its exit code."""

import os
import sys

from spotbatch import __version__
from spotbatch.batch.environment import EXIT_INTERNAL, EXIT_INTERRUPTED
from spotbatch.batch.errors import SpotbatchError
from spotbatch.runtime.array_index import apply_array_index
from spotbatch.runtime.attempt import EXIT_OURS, Attempt
from spotbatch.runtime.errors import may_pass
from spotbatch.runtime.log import say
from spotbatch.runtime.settings import read_settings

USAGE = """usage: spotrun [-h | --version] [--] command [argument ...]

Runs a command so that a Spot interruption costs seconds. The command finds its checkpoint folder in
SPOTBATCH_CHECKPOINT_DIR, already holding the newest whole checkpoint of this work, writes its state there (beside, then
renamed into place) and its results into SPOTBATCH_OUTPUT_DIR. Both are kept in the store named by
SPOTBATCH_ARTIFACTS_URL (s3://bucket/prefix or file:///folder). docs/runtime.md has every variable.

exit codes: the command's own, and
  125  spotrun could not begin (a variable is wrong)   126, 127  the command cannot be run, or is not found
  210  interrupted: run me again                      211  unhealthy: run me again
  212  the command succeeded, and the store did not take its outputs: run me again
  213  spotrun itself failed, which is a bug: run me again
  220  the command succeeded, and its outputs can never be saved as they are
"""


def run(arguments: list[str]) -> int:
    """The exit code."""
    if arguments and arguments[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    if arguments and arguments[0] == "--version":
        sys.stdout.write(f"spotrun {__version__}\n")
        return 0
    if arguments and arguments[0] == "--":
        arguments = arguments[1:]
    elif arguments and arguments[0].startswith("-"):
        say(f"{arguments[0]!r} is no option of spotrun: put -- before the command")
        return EXIT_OURS
    if not arguments:
        sys.stderr.write(USAGE)
        return EXIT_OURS
    try:
        apply_array_index(os.environ)
        return Attempt(read_settings(), arguments).run()
    except SpotbatchError as problem:
        say(str(problem))
        return EXIT_INTERRUPTED if may_pass(problem) else EXIT_OURS
    except BaseException as error:  # Python would exit with 1, which would look like the command's own exit code
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        import traceback  # costs 10 ms, which only runs that hit a bug need to pay

        say(f"an error of spotrun itself, exit code {EXIT_INTERNAL}; please report it:\n{traceback.format_exc()}")
        return EXIT_INTERNAL
