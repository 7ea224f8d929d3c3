"""Event patterns take what EventBridge's guide says they take."""

from typing import Any

import pytest

from spotbatch.local.events.pattern import matches, may_match

EVENT: dict[str, Any] = {
    "source": "aws.batch",
    "resources": ["a", "b"],
    "detail": {
        "status": "FAILED",
        "exit": 137,
        "half": 0.5,
        "none": None,
        "yes": True,
        "empty": [],
        "deep": {"er": {"x": "Y/z*"}},
        "attempts": [{"code": 1, "host": "i-1"}, {"code": 2, "host": "i-2"}],
        "ip": "10.1.2.3",
    },
}


CASES: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"source": ["aws.batch"]}, True),
    ({"source": ["aws.ec2", "aws.batch"]}, True),
    ({"source": ["AWS.batch"]}, False),
    ({"source": ["aws.batch"], "detail": {"status": ["SUCCEEDED"]}}, False),
    ({"resources": ["b"]}, True),
    ({"detail": {"exit": [137]}}, True),
    ({"detail": {"exit": [137.0]}}, False),  # numbers are compared as they are written
    ({"detail": {"exit": ["137"]}}, False),
    ({"detail": {"yes": [True]}}, True),
    ({"detail": {"yes": [1]}}, False),
    ({"detail": {"none": [None]}}, True),
    ({"detail": {"gone": [None]}}, False),
    ({"detail": {"status": [{"prefix": "FA"}]}}, True),
    ({"detail": {"status": [{"prefix": {"equals-ignore-case": "fa"}}]}}, True),
    ({"detail": {"status": [{"suffix": "LED"}]}}, True),
    ({"detail": {"status": [{"suffix": "led"}]}}, False),
    ({"detail": {"status": [{"equals-ignore-case": "failed"}]}}, True),
    ({"detail": {"status": [{"anything-but": "FAILED"}]}}, False),
    ({"detail": {"status": [{"anything-but": ["SUCCEEDED", "RUNNING"]}]}}, True),
    ({"detail": {"status": [{"anything-but": {"prefix": "FA"}}]}}, False),
    ({"detail": {"status": [{"anything-but": {"prefix": ["SU", "RU"]}}]}}, True),
    ({"detail": {"status": [{"anything-but": {"wildcard": "*L*D"}}]}}, False),
    ({"detail": {"gone": [{"anything-but": "x"}]}}, False),
    ({"detail": {"exit": [{"anything-but": [0, 1]}]}}, True),
    ({"detail": {"exit": [{"numeric": [">", 100, "<=", 137]}]}}, True),
    ({"detail": {"exit": [{"numeric": ["=", 1]}]}}, False),
    ({"detail": {"half": [{"numeric": ["<", 1]}]}}, True),
    ({"detail": {"yes": [{"numeric": [">=", 0]}]}}, False),
    ({"detail": {"status": [{"exists": True}]}}, True),
    ({"detail": {"gone": [{"exists": False}]}}, True),
    ({"detail": {"gone": {"deeper": [{"exists": False}]}}}, True),
    ({"detail": {"deep": [{"exists": True}]}}, False),  # only leaves exist
    ({"detail": {"none": [{"exists": True}]}}, True),
    ({"detail": {"deep": {"er": {"x": [{"wildcard": "Y/*\\*"}]}}}}, True),
    ({"detail": {"deep": {"er": {"x": [{"wildcard": "Z*"}]}}}}, False),
    ({"detail": {"ip": [{"cidr": "10.0.0.0/8"}]}}, True),
    ({"detail": {"ip": [{"cidr": "192.168.0.0/16"}]}}, False),
    ({"detail": {"attempts": {"code": [2]}}}, True),
    ({"detail": {"attempts": {"code": [2], "host": ["i-1"]}}}, False),  # one element must match by itself
    ({"$or": [{"source": ["aws.ec2"]}, {"detail": {"exit": [{"numeric": [">", 1]}]}}]}, True),
    ({"$or": [{"source": ["aws.ec2"]}, {"detail": {"exit": [0]}}]}, False),
    ({"detail": {"status": [{"no-such-operator": "x"}]}}, False),
    ({"detail": {"status": "FAILED"}}, False),  # a leaf is a list
]


@pytest.mark.parametrize(("pattern", "expected"), CASES)
def test_a_pattern_takes_the_events_that_it_describes(pattern: dict[str, Any], expected: bool) -> None:
    assert matches(pattern, EVENT) is expected


@pytest.mark.parametrize("pattern", [pattern for pattern, expected in CASES if expected])
def test_what_matches_is_never_ruled_out_by_a_part_of_the_event(pattern: dict[str, Any]) -> None:
    heads: list[dict[str, Any]] = [{}, *({name: EVENT[name]} for name in ("source", "resources"))]
    details = [{"detail": {name: EVENT["detail"][name]}} for name in EVENT["detail"]]
    assert [known for known in [*heads, *details, EVENT] if not may_match(pattern, known)] == []


def test_a_known_part_rules_out_what_asks_for_something_else() -> None:
    pattern = {"source": ["aws.batch"], "detail": {"jobQueue": ["q"], "status": ["FAILED"]}}
    assert may_match(pattern, {"source": "aws.batch", "detail": {"jobQueue": "q"}})
    assert not may_match(pattern, {"source": "aws.ec2"})
    assert not may_match(pattern, {"detail": {"jobQueue": "other"}})
    assert not may_match({"$or": [{"source": ["a"]}, {"source": ["b"]}]}, {"source": "c"})
