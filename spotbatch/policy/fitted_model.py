"""The hazard model that ships: rates fitted to published traces. Made by `python bench/policy.py --fit`; do not edit.

Derived from the Spot availability traces of the SkyNomad artifact (NSDI '27), Apache License 2.0, Copyright 2026 The
SkyNomad Authors: launch probes of p3.2xlarge in 9 zones, 2023-02-15 to 2023-04-02, three probes of 195 s to a tick of
585 s, a tick up only if all three were. These are statistics of the traces, not the traces. One scarce GPU type; a
probe says that an instance could be launched then, and is not the life of one. docs/policy.md shows the fit.
"""

from typing import Final

from spotbatch.policy.hazard import HazardModel, Regime

FITTED: Final = HazardModel(
    source="SkyNomad artifact, p3.2xlarge, 9 zones, 2023-02-15 to 2023-04-02 (Apache-2.0)",
    edges_seconds=(0.0, 585.0, 1170.0, 1755.0, 2340.0, 3510.0, 5265.0, 8190.0, 12870.0, 21060.0, 35100.0, 64350.0),
    regimes=(
        Regime(
            weight=0.428428,
            up_ends_per_hour=(
                1.4258,
                0.6822,
                0.5137,
                0.5340,
                0.4160,
                0.1788,
                0.2162,
                0.1537,
                0.1374,
                0.0679,
                0.0685,
                0.0404,
            ),
            down_ends_per_hour=(
                0.6221,
                1.6343,
                1.9895,
                1.0526,
                1.0416,
                0.9212,
                0.6863,
                0.3217,
                0.3932,
                0.2281,
                0.0731,
                0.0163,
            ),
        ),
        Regime(
            weight=0.196358,
            up_ends_per_hour=(
                1.1794,
                1.0043,
                0.6840,
                0.6411,
                0.4148,
                0.3895,
                0.3559,
                0.2606,
                0.1371,
                0.0973,
                0.1612,
                0.2180,
            ),
            down_ends_per_hour=(
                0.4218,
                1.2245,
                1.1438,
                0.6841,
                0.5642,
                0.2598,
                0.2386,
                0.3009,
                0.3390,
                0.3956,
                0.2143,
                0.0566,
            ),
        ),
        Regime(
            weight=0.375214,
            up_ends_per_hour=(
                2.1526,
                1.5281,
                1.3221,
                1.3161,
                0.7395,
                0.6360,
                0.3766,
                0.2838,
                0.3128,
                0.2830,
                0.1453,
                0.0055,
            ),
            down_ends_per_hour=(
                0.5873,
                1.5629,
                0.8688,
                0.5868,
                0.6226,
                0.4340,
                0.3760,
                0.3005,
                0.2527,
                0.1296,
                0.1226,
                0.0946,
            ),
        ),
    ),
)

# Mean correlation of being up, over pairs of zones of one region; of two regions it is 0.14.
SAME_REGION_CORRELATION: Final = 0.44
