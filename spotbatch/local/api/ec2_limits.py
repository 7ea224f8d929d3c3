"""What EC2 refuses in any Describe call, wherever its answer would come from: too many filter values, page sizes.

200 filter values per call is EC2's own error (FilterLimitExceeded); 50 filters: EC2 API reference, "Filtering". Page
sizes are from botocore's model of EC2, and for older calls, which lack them there, from the API reference.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import botocore.loaders

from spotbatch.local.api.errors import ApiError

MAX_FILTER_VALUES: Final = 200
_MAX_FILTERS: Final = 50
_FILTER_VALUE: Final = re.compile(r"Filter\.[0-9]+\.Value\.[0-9]+")
_FILTER_NAME: Final = re.compile(r"Filter\.[0-9]+\.Name")
_ID: Final = re.compile(r"InstanceId\.[0-9]+")
_INSTANCE_ID: Final = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
# API reference: "between 5 and 1000" (DescribeInstanceStatus, DescribeTags, ...); the model does not include it.
_OLD_PAGES: Final = frozenset({
    "DescribeInstances", "DescribeInstanceStatus", "DescribeTags", "DescribeVolumes", "DescribeVolumeStatus",
    "DescribeSnapshots",
})  # fmt: skip
_USUAL_PAGE: Final = (5, 1000)


def check(form: Mapping[str, str]) -> None:
    """Raises ApiError for a Describe call that EC2 would refuse; other calls pass."""
    action = form.get("Action", "")
    if not action.startswith("Describe"):
        return
    values = sum(1 for name in form if _FILTER_VALUE.fullmatch(name))
    if values > MAX_FILTER_VALUES:
        message = f"The maximum number of filter values specified on a single call is {MAX_FILTER_VALUES}"
        raise ApiError("FilterLimitExceeded", message)
    if sum(1 for name in form if _FILTER_NAME.fullmatch(name)) > _MAX_FILTERS:
        raise ApiError("FilterLimitExceeded", f"The maximum number of filters specified on a call is {_MAX_FILTERS}")
    if "MaxResults" in form:
        _check_page(action, form["MaxResults"])
    if action == "DescribeInstances":
        _check_ids(form)


def _check_page(action: str, given: str) -> None:
    low, high = _USUAL_PAGE if action in _OLD_PAGES else _pages().get(action, (None, None))
    number = int(given) if re.fullmatch(r"-?[0-9]{1,9}", given) else None
    if number is None:
        raise ApiError("InvalidParameterValue", f"Value ( {given[:20]} ) for parameter maxResults is invalid.")
    if low is not None and number < low:
        expected = f"Expecting a value greater than {low}."
    elif high is not None and number > high:
        expected = f"Expecting a value less than {high}."
    else:
        return
    raise ApiError("InvalidParameterValue", f"Value ( {number} ) for parameter maxResults is invalid. {expected}")


def _check_ids(form: Mapping[str, str]) -> None:
    ids = [value for name, value in form.items() if _ID.fullmatch(name)]
    if ids and "MaxResults" in form:
        message = "The parameter instancesSet cannot be used with the parameter maxResults"
        raise ApiError("InvalidParameterCombination", message)
    for one in ids:
        if not _INSTANCE_ID.fullmatch(one):
            raise ApiError("InvalidInstanceID.Malformed", f'Invalid id: "{one[:50]}"')


@cache
def _pages() -> Mapping[str, tuple[int | None, int | None]]:
    """The smallest and largest MaxResults of each call that has them, loaded from botocore's model on first use."""
    shapes: dict[str, Any] = botocore.loaders.Loader().load_service_model("ec2", "service-2")["shapes"]
    found: dict[str, tuple[int | None, int | None]] = {}
    for name, shape in shapes.items():
        member = shape.get("members", {}).get("MaxResults") if name.startswith("Describe") else None
        if member is not None and name.endswith("Request"):
            limits = shapes[member["shape"]]
            found[name.removesuffix("Request")] = (limits.get("min"), limits.get("max"))
    return found
