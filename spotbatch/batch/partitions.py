"""The AWS partitions in which the product works: anything not known to work is refused before anything is created."""

from typing import Final

from spotbatch.batch.errors import InvalidInput

_ELSEWHERE: Final = "where the runtime in the containers does not look for S3"
# Regions by name prefix (botocore's data/partitions.json).
_REFUSED: Final = (
    ("cn-", f"China: its addresses end in amazonaws.com.cn, {_ELSEWHERE}"),
    ("us-iso", f"an isolated partition: its addresses do not end in amazonaws.com, {_ELSEWHERE}"),
    ("eu-isoe", f"an isolated partition: its addresses do not end in amazonaws.com, {_ELSEWHERE}"),
    ("eusc-", f"the European Sovereign Cloud: its addresses end in amazonaws.eu, {_ELSEWHERE}"),
)
_GOVERNMENT: Final = "us-gov-"


def check_region(region: str, *, has_budget: bool = False) -> None:
    """Raises InvalidInput for a region whose partition is refused, with the reason.

    GovCloud is allowed: every ARN in the template takes its partition by reference. AWS Budgets is not available there
    (GovCloud user guide, "Services in AWS GovCloud (US) Regions"), so that a stack with `has_budget` is refused.
    """
    for start, why in _REFUSED:
        if region.startswith(start):
            raise InvalidInput(f"the region {region} is not supported. It is in {why}. Choose another --region")
    if has_budget and region.startswith(_GOVERNMENT):
        raise InvalidInput(f"monthly_budget_usd: AWS Budgets does not exist in {region} (GovCloud): leave it out there")
