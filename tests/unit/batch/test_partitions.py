"""Regions of every partition that botocore knows: each works, or is refused with the reason."""

import pytest
from botocore.loaders import Loader

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.partitions import check_region

PARTITIONS = Loader(include_default_search_paths=True).load_data("partitions")["partitions"]
SUFFIX = {name: each["outputs"]["dnsSuffix"] for each in PARTITIONS for name in each["regions"]}


@pytest.mark.parametrize("region", sorted(name for name in SUFFIX if not name.endswith("-global")))
def test_a_region_is_taken_where_s3_is_where_the_runtime_looks_for_it_and_refused_elsewhere(region: str) -> None:
    if SUFFIX[region] == "amazonaws.com":
        check_region(region)
    else:
        with pytest.raises(InvalidInput, match=f"{region} is not supported"):
            check_region(region)


def test_a_budget_is_refused_in_govcloud_where_there_is_no_such_service() -> None:
    check_region("us-gov-west-1")
    check_region("us-east-1", has_budget=True)
    with pytest.raises(InvalidInput, match="monthly_budget_usd"):
        check_region("us-gov-west-1", has_budget=True)
