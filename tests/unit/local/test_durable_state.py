"""What stacks hold in tables and rules, in the region's own file: as last written, and gone with the stack."""

from pathlib import Path

from spotbatch.local.durable_state import RULE, TABLE, StateStore


def test_items_are_as_last_written_in_the_next_life_of_the_region(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "stacks.db")
    assert store.items("runs") == []
    assert not (tmp_path / "stacks.db").exists()  # nothing is made before it is needed
    store.write_item("runs", "a", {"id": {"S": "a"}, "n": {"N": "1"}})
    store.write_item("runs", "a", {"id": {"S": "a"}, "n": {"N": "2"}})
    store.write_item("runs", "b", {"id": {"S": "b"}})
    store.write_item("runs", "b", None)
    store.close()
    again = StateStore(tmp_path / "stacks.db")
    assert again.items("runs") == [{"id": {"S": "a"}, "n": {"N": "2"}}]
    again.write_table("runs", {"c": {"id": {"S": "c"}}})
    assert again.items("runs") == [{"id": {"S": "c"}}]
    again.drop(TABLE, "runs")
    assert again.items("runs") == []
    again.close()


def test_a_rules_own_state_wins_until_its_template_changes_it(tmp_path: Path) -> None:
    """As in CloudFormation, which changes nothing of a resource whose properties are as before."""
    off, on = {"State": "DISABLED"}, {"State": "ENABLED"}
    store = StateStore(tmp_path / "stacks.db")
    assert store.with_state(RULE, "tick", off) == off
    store.write_rule("tick", "ENABLED")
    assert store.with_state(RULE, "tick", off) == on
    store.close()
    again = StateStore(tmp_path / "stacks.db")
    assert again.with_state(RULE, "tick", off) == on
    again.write_rule("tick", "DISABLED")
    assert again.with_state(RULE, "tick", on) == on  # the template says so now
    again.drop(RULE, "tick")
    assert again.with_state(RULE, "tick", off) == off
    again.close()
