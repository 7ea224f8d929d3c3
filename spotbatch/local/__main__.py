"""`python -m spotbatch.local`: one local region in the foreground, as `spotbatch local up` starts it."""

import sys

from spotbatch.local.engine import open_engine
from spotbatch.local.region_process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], open_engine))
