"""What idle capacity is made of, in the user's own words."""

from decimal import Decimal

from spotbatch.pricing.document import document_of
from spotbatch.pricing.packing import packings
from spotbatch.pricing.report import report_from
from spotbatch.pricing.usage import Observed
from tests.unit.pricing.test_report import PRICES, a_host, a_report, an_attempt

HOST = a_host(vcpus=2, memory_mib=3722)


def test_a_job_that_fits_once_is_told_the_size_that_would_fit_twice_and_the_money() -> None:
    report = a_report(an_attempt(vcpus=1, memory_mib=2048), host=HOST)
    (found,) = packings(report.entries)
    assert (found.resource, found.fits, found.smaller) == ("memory", 1, 1856)
    assert found.idle_usd == report.parts[next(part for part in report.parts if part.value == "idle capacity")]
    assert "a job of 2,048 MiB (sort) fits once on a big, which has 3,722 MiB for jobs" in found.text
    assert "one of 1,856 MiB would fit twice" in found.text
    assert document_of(report)["packing"] == [found.to_json()]


def test_hosts_of_one_kind_are_one_line_with_their_money_together() -> None:
    hosts = [a_host(instance_id=f"i-{n}", vcpus=2, memory_mib=3722) for n in range(3)]
    uses = [an_attempt(instance_id=f"i-{n}", vcpus=1, memory_mib=2048) for n in range(3)]
    together = packings(report_from(hosts, uses, PRICES, until=10_000).entries)
    alone = packings(report_from(hosts[:1], uses[:1], PRICES, until=10_000).entries)
    assert [each.idle_usd for each in together] == [3 * alone[0].idle_usd]


def test_vcpus_may_be_what_keeps_the_next_one_out() -> None:
    (found,) = packings(a_report(an_attempt(vcpus=3, memory_mib=512), host=a_host(vcpus=4, memory_mib=7000)).entries)
    assert (found.resource, found.fits, found.smaller) == ("vCPUs", 1, 2)


def test_nothing_is_said_where_the_smaller_size_would_not_do_or_nothing_is_idle() -> None:
    used = Observed(peak_memory_mib=1900.0)
    assert packings(a_report(an_attempt(vcpus=1, memory_mib=2048, observed=used), host=HOST).entries) == ()
    assert packings(a_report(an_attempt(vcpus=2, memory_mib=3722), host=HOST).entries) == ()
    mixed = [an_attempt(vcpus=1, memory_mib=2048), an_attempt(job_name="other", vcpus=1, memory_mib=1024)]
    assert packings(a_report(*mixed, host=HOST).entries) == ()
    assert all(each.idle_usd > Decimal(0) for each in packings(a_report(an_attempt(), host=HOST).entries))
