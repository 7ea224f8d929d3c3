"""What all tests share: random tests draw the same examples every time (HYPOTHESIS_PROFILE=explore draws new ones)."""

import os

from hypothesis import HealthCheck, settings

# No time limits: a busy machine is slow, and how long an example takes says nothing of whether it holds.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", untimed, derandomize=True, print_blob=True)
settings.register_profile("explore", untimed, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
