"""Which instance families exist, and their architectures: the CDK's own list, read rather than copied."""

import difflib
import re
from functools import lru_cache
from typing import Final, Literal

from aws_cdk import aws_ec2 as ec2

from spotbatch.pricing.catalogue import catalogue

Architecture = Literal["x86_64", "arm64"]
_FAMILY: Final = re.compile(r"[a-z]{1,3}\d+[a-z]*(-flex)?")
_SIZE: Final = re.compile(r"nano|micro|small|medium|large|xlarge|\d+xlarge|metal(-\d+xl)?")
_NO_FAMILIES: Final = frozenset({"arm1", "io3", "mac1", "mac2"})  # the CDK's long names, and those without containers
_GRAVITON: Final = re.compile(r"[a-z]+\d+g")  # c7g, m6gd, g5g ... (EC2 user guide, "Instance type naming conventions")
_NVIDIA: Final = re.compile(r"p\d|g\d|gr\d")
# Instances that AWS Batch's images do not support (user guide, "EC2 configurations"; API reference, Ec2Configuration).
_NO_IMAGE: Final = (
    (re.compile(r"a1\b"), "Amazon Linux 2023 does not run on a1: take a later Graviton family, such as m7g"),
    (re.compile(r"(p2|p3|p3dn|g2|g3|g3s)\b"), "its GPUs are too old for AWS Batch's images: take e.g. g4dn or g5"),
    (re.compile(r"g5g\b"), "AWS Batch has no image with NVIDIA's driver for Graviton: take e.g. g5"),
)


@lru_cache(maxsize=1)
def families() -> frozenset[str]:
    """Every instance family that this version of the CDK knows."""
    names = (each.name.lower().replace("_", "-") for each in ec2.InstanceClass)
    return frozenset(name for name in names if _FAMILY.fullmatch(name)) - _NO_FAMILIES


def check(name: str) -> None:
    """Raises ValueError unless this is a known family (c5) or a type (c5.xlarge) of one."""
    family, dot, size = name.partition(".")
    if family not in families():
        near = difflib.get_close_matches(family, sorted(families()), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "give types such as c5.xlarge or families such as c5"
        raise ValueError(f"{name!r} is of no known instance family ('optimal' is not allowed here): {hint}")
    for pattern, why in _NO_IMAGE:
        if pattern.match(family):
            raise ValueError(f"{name!r}: {why}")
    if dot and not _SIZE.fullmatch(size):
        raise ValueError(f"{name!r}: {size!r} is no instance size such as large, 2xlarge or metal")
    known = catalogue().families.get(family, ())  # for other families only the CDK's list of names is available
    is_metal = size.startswith("metal")  # the catalogue has no bare-metal prices
    if dot and known and not is_metal and name not in catalogue():
        sizes = ", ".join(each.name.partition(".")[2] for each in known)
        raise ValueError(f"{name!r}: {family} has no size {size!r}; it has {sizes}")


def architecture(name: str) -> Architecture:
    """The processor of a family or type: arm64 for Graviton."""
    return "arm64" if _GRAVITON.match(name) or name.startswith("a1") else "x86_64"


def has_nvidia_gpu(name: str) -> bool:
    """Whether its hosts need the image with NVIDIA's driver (g4ad has AMD GPUs)."""
    return bool(_NVIDIA.match(name)) and not name.startswith("g4ad")
