"""What all tests share: random tests draw the same examples every time (HYPOTHESIS_PROFILE=explore draws new ones)."""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, print_blob=True)
settings.register_profile("explore", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
