"""`python -m spotbatch.local`: one local region in the foreground, as `spotbatch local up` starts it."""

import asyncio
import sys

from spotbatch.batch.errors import SpotbatchError
from spotbatch.local.running import run
from spotbatch.local.settings import parse_arguments


def main() -> int:
    """Run the region. Returns the exit code: 0 after a clean stop, else the error's own."""
    from spotbatch.local.engine import open_engine

    try:
        settings = parse_arguments(sys.argv[1:])
        asyncio.run(run(settings, open_engine))
    except SpotbatchError as error:
        sys.stderr.write(f"spotbatch local: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
