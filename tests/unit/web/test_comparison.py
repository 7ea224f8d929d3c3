"""Two runs side by side: what differs, and nothing that is not known."""

from dataclasses import replace

from spotbatch.batch.status import JobStatus
from spotbatch.web.account import Account
from spotbatch.web.choice import NO_CHOICE
from spotbatch.web.comparison import Compared, comparison
from spotbatch.web.money_view import Drawings
from spotbatch.web.run_view import run_view
from tests.unit.web_builders import NOW, TARGET, bill, child, counted, shown


def run(succeeded: int, failed: int, *, unread: int = 0, took: float = 1000.0) -> Compared:
    children = [child(index, JobStatus.SUCCEEDED, interrupted=index < 2) for index in range(succeeded)]
    children += [child(index, JobStatus.FAILED) for index in range(succeeded, succeeded + failed)]
    of = replace(counted(succeeded + failed, children), status=JobStatus.FAILED, stopped_at=NOW - 3600 + took)
    world = shown(of, children[: len(children) - unread])
    account = Account(report=bill(children), at=NOW, unread=unread)
    world.state.accounts[of.id] = account
    view = run_view(world.state, TARGET, Drawings(), NO_CHOICE, NOW)
    assert view is not None
    return Compared(view=view, account=account)


def test_the_second_is_held_against_the_first() -> None:
    rows = {row.label: row for row in comparison(run(8, 2), run(10, 0, took=1500.0))}
    assert (rows["Children"].first, rows["Children"].second, rows["Children"].change) == ("10", "10", "same")
    assert (rows["FAILED"].first, rows["FAILED"].second, rows["FAILED"].change) == ("2", "0", "-100 %")
    assert rows["From submission to the end"].change == "+50 %"
    assert rows["Interruptions"].first == "2"
    assert rows["Paid for hosts"].first.endswith("USD")


def test_what_is_not_known_is_not_compared() -> None:
    rows = {row.label: row for row in comparison(run(8, 2), run(8, 2, unread=4))}
    assert rows["Paid for hosts"].second.startswith("at least ")
    assert rows["Paid for hosts"].change == ""
    assert rows["Interruptions"].second.startswith("at least ")
    without = replace(run(8, 2), account=None)
    assert {row.label: row for row in comparison(without, without)}["Paid for hosts"].first == "…"
