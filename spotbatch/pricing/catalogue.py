"""The catalogue of instance types: vCPUs, memory, prices and interruption bands, as dated data in the package.

Loading takes a few milliseconds and needs only the standard library; nothing is read until `catalogue()` is called.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from spotbatch.batch.errors import InvalidInput, NotFound

ON_DEMAND_SOURCE: Final = "EC2 on-demand price list, us-east-1, Linux"
SPOT_SOURCE: Final = "EC2 Spot Instance Advisor, us-east-1, Linux: mean saving of the last 30 days"

_DATA: Final = Path(__file__).parent / "data" / "instance_types.csv"
_BUNDLES: Final[Mapping[str, tuple[str, ...]]] = {
    # API reference, ComputeResource.instanceTypes: from 2025-11-01 on `optimal` means what default_x86_64 means.
    "optimal": ("c6i", "c7i", "m6i", "r6i"),
    "default_x86_64": ("c6i", "c7i", "m6i", "r6i"),
    "default_arm64": ("c6g", "c7g", "m6g", "r6g"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceType:
    """One EC2 instance type in one region, with the date of each price. An unknown price is None.

    `spot_usd_per_hour` is the on-demand price less the Advisor's mean saving: a fair average over zones and a month,
    not a quote. `interruption_band` is the Advisor's band for the share of instances reclaimed in a month.
    """

    name: str
    vcpus: int
    memory_mib: int  # the label: what EC2 sells
    architecture: str  # x86_64 or arm64
    gpus: int
    on_demand_usd_per_hour: Decimal
    on_demand_date: str
    spot_usd_per_hour: Decimal | None
    spot_date: str
    interruption_band: str | None  # "<5%", "5-10%", "10-15%", "15-20%", ">20%"; None: not known

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]

    @property
    def usable_memory_mib(self) -> int:
        """The memory available to jobs, estimated low."""
        return usable_memory_mib(self.memory_mib)


def usable_memory_mib(label_mib: int) -> int:
    """The memory that ECS offers to jobs on a host, estimated low so that whatever is reported to fit really fits.

    AWS Batch user guide, "Compute resource memory management": the platform and the kernel keep a share, and the agent
    reserves 32 MiB; its example, an m4.large of 8,192 MiB, has 7,985. AWS publishes no table. Users see 3 to 6 %
    missing, more on small hosts: 6 % and 128 MiB are taken off here. A started host's own figure is better.
    """
    return max(0, label_mib - (label_mib * 6 + 99) // 100 - 128)


class Catalogue:
    """Instance types by name. Families and bundles (`optimal`) are expanded as AWS Batch expands them."""

    def __init__(
        self,
        types: Iterable[InstanceType],
        *,
        source: str = ON_DEMAND_SOURCE,
        spot_source: str = SPOT_SOURCE,
        region: str = "us-east-1",
    ):
        self._types = {each.name: each for each in types}
        self.source = source
        self.spot_source = spot_source
        self.region = region

    def __len__(self) -> int:
        return len(self._types)

    def __iter__(self) -> Iterator[InstanceType]:
        return iter(self._types.values())

    def __contains__(self, name: object) -> bool:
        return name in self._types

    @cached_property
    def families(self) -> Mapping[str, tuple[InstanceType, ...]]:
        """Every family, with its types from smallest to largest."""
        found: dict[str, list[InstanceType]] = {}
        for each in sorted(self, key=lambda one: (one.family, one.vcpus, one.memory_mib, one.name)):
            found.setdefault(each.family, []).append(each)
        return {name: tuple(types) for name, types in found.items()}

    def get(self, name: str) -> InstanceType:
        """The type with this name. Raises NotFound, listing similar names."""
        found = self._types.get(name)
        if found is None:
            raise NotFound(self._unknown("instance type", name, self._types))
        return found

    def family(self, name: str) -> tuple[InstanceType, ...]:
        """All types of a family, from smallest to largest. Raises NotFound, listing similar families."""
        found = self.families.get(name)
        if found is None:
            raise NotFound(self._unknown("instance family", name, self.families))
        return found

    def expand(self, names: Iterable[str]) -> tuple[InstanceType, ...]:
        """What a compute environment's `instanceTypes` stand for: types, families and bundles, each type once.

        Raises NotFound for a name that is none of these.
        """
        found: dict[str, InstanceType] = {}
        for name in names:
            for each in self._expanded(name):
                found.setdefault(each.name, each)
        return tuple(found.values())

    def _expanded(self, name: str) -> tuple[InstanceType, ...]:
        if name in _BUNDLES:
            return tuple(each for family in _BUNDLES[name] if family in self.families for each in self.family(family))
        return (self.get(name),) if "." in name else self.family(name)

    def _unknown(self, kind: str, name: str, known: Iterable[str]) -> str:
        import difflib  # needed only for an error message

        near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
        fix = f"did you mean {', '.join(near)}?" if near else "`spotbatch prices show` lists the catalogue"
        return f"there is no {kind} {name!r} among the {len(self)} types of the catalogue ({self.region}): {fix}"


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The shipped catalogue: the current families of us-east-1, including GPU families; read once."""
    return Catalogue(read_types(_DATA.read_text(encoding="utf-8").splitlines()))


def read_types(lines: Iterable[str]) -> list[InstanceType]:
    """Instance types from CSV lines with our header. Raises InvalidInput naming the line that cannot be read."""
    rows = csv.reader(lines)
    next(rows, None)
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            found.append(_type_of(*row))
        except (ValueError, ArithmeticError, TypeError) as error:
            raise InvalidInput(f"line {number} of the catalogue is not a row of ours: {row!r} ({error})") from error
    return found


def _type_of(  # one parameter per column, in file order
    name: str,
    vcpus: str,
    memory_mib: str,
    architecture: str,
    gpus: str,
    on_demand: str,
    on_demand_date: str,
    saving_percent: str,
    band: str,
    spot_date: str,
) -> InstanceType:
    price = Decimal(on_demand)
    saving = int(saving_percent or 0)
    return InstanceType(
        name=name,
        vcpus=int(vcpus),
        memory_mib=int(memory_mib),
        architecture=architecture,
        gpus=int(gpus),
        on_demand_usd_per_hour=price,
        on_demand_date=on_demand_date,
        spot_usd_per_hour=price * (100 - saving) / 100 if saving else None,
        spot_date=spot_date,
        interruption_band=band if saving else None,
    )
