"""Looks up what moto's services hold without a request: parameters, secrets, user data, objects.

moto is imported only if it is already loaded: it takes a second.
"""

import json
from collections.abc import Mapping
from typing import Any

from spotbatch.local.template_names import MADE_UP_SUFFIX


def is_named(reference: str, name: str) -> bool:
    """Whether a reference (`name`, `name:version`, an ARN, `id:SecretString:key`) means a resource with this name."""
    plain = reference.rpartition(":parameter")[2] if ":parameter" in reference else reference
    plain = plain.rpartition(":secret:")[2] if ":secret:" in plain else plain
    head = plain.partition(":")[0]
    return name in (head, head.removeprefix("/"), head.rpartition("-")[0]) or name.removeprefix("/") == head


def part_of(reference: str, name: str, value: str) -> str | None:
    """The part of a secret's text that a reference asks for: a key of its JSON, or all of it."""
    after = reference.partition(f"{name}")[2].split(":")[1:]
    key = after[1] if len(after) > 1 and after[0] in ("SecretString", "") else after[0] if len(after) > 2 else ""
    return of_key(value, key)


def of_key(value: str, key: str) -> str | None:
    """A member of the JSON object in a secret; all of it for no key, None if there is no such member."""
    if not key:
        return value
    try:
        found = json.loads(value)[key]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else json.dumps(found)


def parameter(account_id: str, region: str, reference: str) -> str | None:
    """The value of an SSM parameter, by its name (and version) or ARN."""
    from moto.ssm.models import ssm_backends

    name = reference.rpartition(":parameter")[2] if reference.startswith("arn:") else reference
    backend: Any = ssm_backends[account_id][region]
    wanted = (name, name.removeprefix("/")) if reference.startswith("arn:") else (name,)
    found = next((one for one in map(backend.get_parameter, wanted) if one is not None), None)
    return str(found.response_object(decrypt=True)["Value"]) if found is not None else None


def secret(account_id: str, region: str, reference: str) -> str | None:
    """The text of a secret, or a member of the JSON in it.

    As in {{resolve:secretsmanager:id:SecretString:key:stage:version}}, or as in `valueFrom` of a job definition:
    the ARN, followed by `:key:stage:version` if only a part is wanted.
    """
    from moto.secretsmanager.models import secretsmanager_backends

    identifier, key, stage, version = _parts(reference)
    backend: Any = secretsmanager_backends[account_id][region]
    identifier = identifier.removesuffix(MADE_UP_SUFFIX)
    try:
        found = backend.get_secret_value(identifier, version, stage)
    except Exception:  # noqa: BLE001  (moto has a separate exception for each kind of missing secret)
        return None
    text = found.get("SecretString")
    return None if text is None else of_key(str(text), key)


def _parts(reference: str) -> tuple[str, str, str, str]:
    """The id or ARN, the key in its JSON, the stage and the version."""
    parts = reference.split(":")
    head = 7 if reference.startswith("arn:") else 1
    rest = parts[head:]
    if rest and rest[0] == "SecretString":
        rest = rest[1:]
    key, stage, version = (*rest, "", "", "")[:3]
    return ":".join(parts[:head]), key, stage, version


def user_data(account_id: str, region: str, named: Mapping[str, str]) -> str | None:
    """The user data, in Base64, of a launch template version, by template id or name; None if there is none."""
    from moto.ec2.models import ec2_backends

    backend: Any = ec2_backends[account_id][region]
    try:
        if "launchTemplateId" in named:
            template = backend.get_launch_template(named["launchTemplateId"])
        else:
            template = backend.get_launch_template_by_name(named.get("launchTemplateName", ""))
        version = named.get("version", "$Default")
        chosen = {
            "$Latest": template.latest_version_number,
            "$Default": template.default_version_number,
        }.get(version) or int(version)
        data = template.get_version(chosen).data.get("UserData")
    except Exception:  # noqa: BLE001  (as above)
        return None
    return None if data is None else str(data)


def s3_object(account_id: str, bucket: str, key: str) -> bytes | None:
    """The bytes of an object."""
    from moto.s3.models import s3_backends

    backend: Any = s3_backends[account_id]["aws"]
    try:
        found = backend.get_object(bucket, key)
    except Exception:  # noqa: BLE001  (as above)
        return None
    return bytes(found.value) if found is not None else None


def load_managed_policies(account_id: str) -> None:
    """Load AWS's own managed policies into IAM: moto ships them, but loads them only at its start.

    It takes 0.2 to 0.5 s, so it is done only once somebody asks for one.
    """
    from moto.iam.aws_managed_policies import aws_managed_policies_data
    from moto.iam.models import AWSManagedPolicy, iam_backends

    backend: Any = iam_backends[account_id]["aws"]
    data: dict[str, Any] = json.loads(aws_managed_policies_data)
    known = [AWSManagedPolicy.from_data(name, account_id, "aws", one) for name, one in data.items()]
    backend.aws_managed_policies = known
    for policy in known:
        backend.managed_policies.setdefault(policy.arn, policy)
