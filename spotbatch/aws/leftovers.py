"""What is left of a deleted stack, found by the stack's tag and in CloudFormation's own records.

The tag finds what was created outside CloudFormation (instances, a job definition's later revisions); CloudFormation
remembers what AWS does not list by tag. Both lag behind deletions, so each result is checked again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.aws import session, stacks, teardown
from spotbatch.batch.environment import STACK_TAG
from spotbatch.batch.errors import NotFound

BUCKET: Final = "AWS::S3::Bucket"
REPOSITORY: Final = "AWS::ECR::Repository"
KEY: Final = "AWS::KMS::Key"
LOG_GROUP: Final = "AWS::Logs::LogGroup"
DEFINITION: Final = "AWS::Batch::JobDefinition"
_INSTANCE: Final = "AWS::EC2::Instance"
_GATEWAY: Final = "AWS::EC2::NatGateway"
_STACK: Final = "AWS::CloudFormation::Stack"
_OTHER: Final = ""
# The part of an ARN that precedes the name, by kind.
_MARKS: Final[Mapping[str, str]] = {
    ":s3:::": BUCKET,
    ":repository/": REPOSITORY,
    ":key/": KEY,
    ":log-group:": LOG_GROUP,
    ":job-definition/": DEFINITION,
    ":instance/": _INSTANCE,
    ":natgateway/": _GATEWAY,
    ":stack/": _STACK,
}
KEY_WINDOW_DAYS: Final = 7  # the minimum that KMS allows
_WORDS: Final[Mapping[str, str]] = {
    BUCKET: "bucket",
    REPOSITORY: "repository",
    KEY: "key",
    LOG_GROUP: "log group",
    DEFINITION: "job definition",
}
_KMS_GONE: Final = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
_INSTANCE_GONE: Final = frozenset({"terminated", "shutting-down"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """One leftover resource: its CloudFormation type ("" if we have none), and its name or ARN."""

    kind: str
    name: str

    @property
    def holds_data(self) -> bool:
        """Whether a plain removal keeps it on purpose."""
        return self.kind in (BUCKET, REPOSITORY, KEY)

    @property
    def can_be_deleted(self) -> bool:
        """Whether `delete` supports it."""
        return self.kind in _DELETE

    @property
    def is_certain(self) -> bool:
        """Whether it was queried directly: an index that lags behind does not prove that it exists."""
        return self.kind in _CHECKS

    def __str__(self) -> str:
        word = _WORDS.get(self.kind, self.kind)
        return f"{word} {self.name}" if word else self.name


def find(stack: str, *, data_only: bool = False) -> Sequence[Left]:
    """Everything left of stacks with this name: data first, keys after what they encrypt, in a stable order."""
    remembered = (Left(kind=each.kind, name=each.physical_id) for each in stacks.kept_by_deleted(stack))
    asked = {one for one in (*_by_tag(stack), *remembered) if one.holds_data or not data_only}
    left = [one for one in asked if _exists(one)]
    return sorted(left, key=lambda one: (not one.holds_data, one.kind == KEY, one.kind, one.name))


def find_settled(stack: str, *, say: Callable[[str], None], limit_seconds: float) -> Sequence[Left]:
    """Like `find`, but repeated for a while if some of it is known only from AWS's tag index."""
    left: Sequence[Left] = ()
    waits = False
    for _ in stacks.pauses(limit_seconds):
        left = find(stack)
        uncertain = sum(not one.is_certain for one in left)
        if not uncertain:
            break
        if not waits:
            say(f"AWS's index of tags still lists {uncertain} more: asking again for {limit_seconds:.0f} s at most ...")
            waits = True
    return left


def _by_tag(stack: str) -> Iterator[Left]:
    pages = (
        session.client("resourcegroupstaggingapi")
        .get_paginator("get_resources")
        .paginate(TagFilters=[{"Key": STACK_TAG, "Values": [stack]}])
    )
    for page in pages:
        for each in page["ResourceTagMappingList"]:
            yield _of_arn(each["ResourceARN"])


def _of_arn(arn: str) -> Left:
    for mark, kind in _MARKS.items():
        _, found, name = arn.partition(mark)
        if found:
            return Left(kind=kind, name=name.removesuffix(":*"))
    return Left(kind=_OTHER, name=arn)


# ---- does it still exist? ----


def _exists(one: Left) -> bool:
    """Whether it still exists; assumed True for what we cannot query."""
    check = _CHECKS.get(one.kind)
    if check is None:
        return True
    try:
        return check(one.name)
    except NotFound:
        return False


def _has_bucket(name: str) -> bool:
    session.client("s3").head_bucket(Bucket=name)
    return True


def _has_repository(name: str) -> bool:
    return bool(session.client("ecr").describe_repositories(repositoryNames=[name])["repositories"])


def _has_key(name: str) -> bool:
    return session.client("kms").describe_key(KeyId=name)["KeyMetadata"]["KeyState"] not in _KMS_GONE


def _has_log_group(name: str) -> bool:
    groups = session.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return any(group["logGroupName"] == name for group in groups)


def _has_definition(name: str) -> bool:
    found = session.client("batch").describe_job_definitions(jobDefinitions=[name])["jobDefinitions"]
    return any(each["status"] == "ACTIVE" for each in found)


def _has_instance(name: str) -> bool:
    """A terminated instance is listed for an hour, tags and all."""
    answer = session.client("ec2").describe_instances(InstanceIds=[name])
    states = [one["State"]["Name"] for each in answer["Reservations"] for one in each["Instances"]]
    return any(state not in _INSTANCE_GONE for state in states)


def _has_gateway(name: str) -> bool:
    """A deleted NAT gateway is listed for an hour, tags and all."""
    answer = session.client("ec2").describe_nat_gateways(NatGatewayIds=[name])
    return any(each["State"] != "deleted" for each in answer["NatGateways"])


def _has_stack(name: str) -> bool:
    """CloudFormation tags the stack itself too. `name` is the end of its ARN, with the id."""
    return stacks.find(name.partition("/")[0]) is not None


_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    BUCKET: _has_bucket,
    REPOSITORY: _has_repository,
    KEY: _has_key,
    LOG_GROUP: _has_log_group,
    DEFINITION: _has_definition,
    _INSTANCE: _has_instance,
    _GATEWAY: _has_gateway,
    _STACK: _has_stack,
}


# ---- deleting it ----


def delete(one: Left, *, say: Callable[[str], None]) -> None:
    """Delete one resource of a kind that `can_be_deleted`, with its contents; one that is gone is not an error."""
    _DELETE[one.kind](one.name, say)


def _delete_bucket(name: str, say: Callable[[str], None]) -> None:
    teardown.delete_bucket(name, say=say)
    say(f"bucket {name} is deleted")


def _delete_repository(name: str, say: Callable[[str], None]) -> None:
    teardown.delete_repository(name)
    say(f"repository {name} is deleted with its images")


def _delete_key(name: str, say: Callable[[str], None]) -> None:
    on = teardown.delete_key(name, days=KEY_WINDOW_DAYS)
    if on:
        say(f"key {name} is deleted on {on} (KMS waits {KEY_WINDOW_DAYS} days at least, without charge);")
        say(f"  until then `aws kms cancel-key-deletion --key-id {name}` brings it back")


def _delete_log_group(name: str, say: Callable[[str], None]) -> None:
    session.client("logs").delete_log_group(logGroupName=name)
    say(f"log group {name} is deleted")


def _delete_definition(name: str, say: Callable[[str], None]) -> None:
    session.client("batch").deregister_job_definition(jobDefinition=name)
    say(f"job definition {name} is deregistered")


_DELETE: Final[Mapping[str, Callable[[str, Callable[[str], None]], None]]] = {
    BUCKET: _delete_bucket,
    REPOSITORY: _delete_repository,
    KEY: _delete_key,
    LOG_GROUP: _delete_log_group,
    DEFINITION: _delete_definition,
}
