"""Refreshing prices against real HTTP: moto's server for EC2 and Cost Explorer, a stand-in for the Price List API.

moto 5.2 has neither the Price List API nor GetSpotPlacementScores; the stand-in here answers in the shape that AWS
documents, through the same boto3 and the same wire format. What AWS really answers was not seen.
"""

import http.server
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from spotbatch.aws import price_cache, prices
from spotbatch.aws.session import client
from spotbatch.batch.errors import NotFound, Unavailable
from spotbatch.cli import main
from spotbatch.pricing.catalogue import catalogue
from spotbatch.pricing.ledger import usage_of
from spotbatch.pricing.usage import HostLife


def a_product(name: str, usd: str) -> str:
    """One product as AWS's price list has it (Price List API guide, "Reading the price list files")."""
    sku = f"SKU{name}"
    price = {"unit": "Hrs", "pricePerUnit": {"USD": usd}, "beginRange": "0", "endRange": "Inf", "appliesTo": []}
    term = {"sku": sku, "effectiveDate": "2026-11-01T00:00:00Z", "priceDimensions": {f"{sku}.X": price}}
    return json.dumps(
        {
            "product": {"sku": sku, "productFamily": "Compute Instance", "attributes": {"instanceType": name}},
            "serviceCode": "AmazonEC2",
            "terms": {"OnDemand": {f"{sku}.T": term}},
            "publicationDate": "2026-11-20T17:00:00Z",
        }
    )


PAGES = [
    [a_product("c5.large", "0.0900000000"), a_product("c5.large", "0.0000000000")],
    [a_product("c5.xlarge", "0.18")],
]
SCORES = """<GetSpotPlacementScoresResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><spotPlacementScoreSet>
<item><region>us-east-1</region><availabilityZoneId>use1-az1</availabilityZoneId><score>3</score></item>
<item><region>us-east-1</region><availabilityZoneId>use1-az2</availabilityZoneId><score>9</score></item>
</spotPlacementScoreSet></GetSpotPlacementScoresResponse>"""


class StandIn(http.server.BaseHTTPRequestHandler):
    """Answers GetProducts in two pages, and GetSpotPlacementScores; remembers what it was asked."""

    asked: list[dict[str, object]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "GetSpotPlacementScores" in body.decode():
            return self.answer(SCORES.encode(), "text/xml")
        assert self.headers["X-Amz-Target"] == "AWSPriceListService.GetProducts"
        asked = json.loads(body)
        self.asked.append(asked)
        page = int(asked.get("NextToken", "0"))
        more = {"NextToken": str(page + 1)} if page + 1 < len(PAGES) else {}
        return self.answer(json.dumps({"PriceList": PAGES[page], **more}).encode(), "application/x-amz-json-1.1")

    def answer(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the face of the standard library
        """Quiet."""


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def stand_in() -> Iterator[tuple[str, type[StandIn]]]:
    kind = type("Answers", (StandIn,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", kind
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def settings(moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN", "SPOTBATCH_LOCAL"):
        monkeypatch.setenv(name, "")  # so that it is absent again afterwards, even if the command itself sets it
        monkeypatch.delenv(name)


def test_what_an_api_does_not_answer_is_said_and_the_rest_is_kept() -> None:
    fetched = prices.fetch("us-east-1", ["c5.large", "m5"], now=time.time())
    assert {each.name for each in fetched.types} >= {"c5.large", "m5.large"}
    assert not any("metal" in each.name for each in fetched.types)
    assert {each.instance_type for each in fetched.spot} == {each.name for each in fetched.types}
    assert fetched.on_demand == {}
    assert [problem.partition(" were not")[0] for problem in fetched.problems] == [
        "on-demand prices",
        "placement scores",
    ]


def test_ec2_and_the_shipped_catalogue_agree_on_what_the_types_are() -> None:
    ours = {each.name: each for each in catalogue().expand(["c5", "m5", "r5", "c7g", "m6i"])}
    theirs = list(prices.instance_types(client("ec2"), ["c5", "m5", "r5", "c7g", "m6i"]))
    compared = [each for each in theirs if each.name in ours]
    assert len(compared) == len(ours)
    for each in compared:
        known = ours[each.name]
        assert (each.vcpus, each.memory_mib, each.architecture, each.gpus) == (
            known.vcpus,
            known.memory_mib,
            known.architecture,
            known.gpus,
        )


def test_gpus_are_counted() -> None:
    (found,) = prices.instance_types(client("ec2"), ["g4dn.12xlarge"])
    assert found.gpus == 4


def test_on_demand_prices_come_page_by_page_with_the_day_of_the_list(
    stand_in: tuple[str, type[StandIn]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, server = stand_in
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", url)
    found, date = prices.on_demand_prices("us-east-1", ["c5.large", "c5.xlarge"])
    assert found == {"c5.large": Decimal("0.09"), "c5.xlarge": Decimal("0.18")}
    assert date == "2026-11-20"
    filters = {each["Field"]: each["Value"] for each in server.asked[0]["Filters"]}  # type: ignore[attr-defined] # JSON
    assert filters["instanceType"] == "c5.large,c5.xlarge"
    assert filters["operatingSystem"] == "Linux"


def test_a_product_of_another_shape_is_refused_and_not_guessed(
    stand_in: tuple[str, type[StandIn]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", stand_in[0])
    monkeypatch.setattr(f"{__name__}.PAGES", [['{"product": {}}']])
    with pytest.raises(Unavailable, match="cannot be read"):
        prices.on_demand_prices("us-east-1", ["c5.large"])


def test_placement_scores_come_the_best_zone_first(
    stand_in: tuple[str, type[StandIn]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", stand_in[0])
    found = prices.placement_scores(client("ec2"), "us-east-1", ["c5.large"])
    assert [(each.zone_id, each.score) for each in found] == [("use1-az2", 9), ("use1-az1", 3)]


def test_nothing_at_all_is_an_error_and_the_kept_prices_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="no prices could be fetched") as raised:
        prices.fetch("us-east-1", ["c5.large"], now=0)
    assert str(raised.value).count("does not answer") == 1, "four calls failed for one reason"
    assert price_cache.kept() is None


def test_refreshed_prices_are_kept_shown_with_their_age_and_used(
    stand_in: tuple[str, type[StandIn]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", stand_in[0])
    assert main.main(["prices", "refresh", "--types", "c5.large,c5.xlarge", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["types"], answer["on_demand_prices"]) == (2, 2)
    assert answer["zones"] >= 3
    assert Path(answer["path"]).is_file()

    assert main.main(["prices", "show", "--types", "c5.large,m5.large", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    fresh, shipped = shown["types"]
    assert (fresh["on_demand_usd_per_hour"], fresh["on_demand_date"]) == ("0.0900000000", "2026-11-20")
    assert shipped["on_demand_date"] == "2026-07-20"
    assert shown["age"].startswith("refreshed 0 hours ago")
    assert "placement scores were not refreshed" in shown["missing"][0]
    assert any("for 706 others" in source for source in shown["sources"])


def test_a_bill_uses_the_refreshed_price_of_the_hosts_zone() -> None:
    fetched = prices.fetch("us-east-1", ["c5.large"], now=time.time())
    current = price_cache.current_prices(fetched)
    host = HostLife(instance_id="i", instance_type="c5.large", zone="us-east-1a", vcpus=2, launched_at=0, ended_at=3600)
    assert current.spot.cost(usage_of(host, until=0)) == Decimal("0.00001"), "moto's price"
    other = HostLife(
        instance_id="i", instance_type="m5.large", zone="us-east-1a", vcpus=2, launched_at=0, ended_at=3600
    )
    assert current.spot.cost(usage_of(other, until=0)) == catalogue().get("m5.large").spot_usd_per_hour


def test_prices_of_a_stand_in_never_pass_for_those_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    price_cache.write(prices.fetch("us-east-1", ["c5.large"], now=1e9), price_cache.cache_path("us-east-1"))
    assert price_cache.kept() is not None
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert price_cache.kept() is None


def test_another_region_never_takes_the_shipped_prices_for_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    fetched = prices.fetch("eu-west-1", ["c5.large"], now=time.time())
    with pytest.raises(NotFound):
        price_cache.current_catalogue(fetched).get("m5.large")
    assert main.main(["--region", "eu-west-1", "prices", "show"]) == 0
    assert "those of eu-west-1 are not known" in capsys.readouterr().err


def test_kept_prices_come_back_as_they_were_and_old_ones_are_called_stale() -> None:
    path = price_cache.cache_path("us-east-1")
    fetched = prices.fetch("us-east-1", ["c5.large"], now=1e9)
    price_cache.write(fetched, path)
    assert price_cache.read(path) == fetched
    assert "stale" in price_cache.age_text(fetched, 1e9 + 8 * 86_400)
    assert "stale" not in price_cache.age_text(fetched, 1e9 + 6 * 86_400)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": 99}'])
def test_a_damaged_file_of_prices_is_an_error_with_its_path(damage: str) -> None:
    path = price_cache.cache_path("us-east-1")
    path.parent.mkdir(parents=True)
    path.write_text(damage, encoding="utf-8")
    with pytest.raises(Unavailable, match="cannot be read"):
        price_cache.kept()


def test_cost_explorers_days_are_read_as_decimals(moto: str) -> None:
    day = {"TimePeriod": {"Start": "2026-01-01", "End": "2026-01-02"}, "Total": {"UnblendedCost": {"Amount": "1.25"}}}
    body = json.dumps({"results": [{"ResultsByTime": [{**day, "Groups": [], "Estimated": False}]}]}).encode()
    request = urllib.request.Request(f"{moto}/moto-api/static/ce/cost-and-usage-results", data=body, method="POST")  # noqa: S310 - loopback
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - loopback
    found = prices.billed_by_day(("Project", "x"), start=1767225600, stop=1767225600 + 3600)
    assert found == {"2026-01-01": Decimal("1.25")}
