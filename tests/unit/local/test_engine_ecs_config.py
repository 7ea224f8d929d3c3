"""What user data makes of a host: whether the ECS agent drains it under a notice, whether jobs reach its metadata."""

import base64
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from spotbatch.infra.host_data import user_data
from spotbatch.local.engine.ecs_config import drains_on_notice, reaches_metadata

SET = "ECS_ENABLE_SPOT_INSTANCE_DRAINING"


def mime(*scripts: str, charset: str = "us-ascii") -> str:
    message = MIMEMultipart()
    for script in scripts:
        message.attach(MIMEText(script, "x-shellscript", charset))
    return message.as_string()


@pytest.mark.parametrize(
    "text",
    [
        f"#!/bin/sh\necho {SET}=true >> /etc/ecs/ecs.config\n",
        f"#!/bin/sh\ncat >> /etc/ecs/ecs.config <<EOF\nECS_CLUSTER=x\n{SET}=1\nEOF\n",
        f'#cloud-config\nruncmd:\n  - echo "{SET}=True" >> /etc/ecs/ecs.config\n',
        mime("echo hello", f"printf '%s\\n' {SET}=true >> /etc/ecs/ecs.config"),
        mime(f"echo {SET}=true", charset="utf-8"),
        f"echo {SET}=false > a\necho {SET}=true >> a\n",
    ],
)
def test_hosts_drain_where_the_agent_is_told_to(text: str) -> None:
    assert drains_on_notice(text)
    assert drains_on_notice(base64.b64encode(text.encode()).decode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#!/bin/sh\necho ECS_CLUSTER=x >> /etc/ecs/ecs.config\n",
        f"echo {SET}=false >> /etc/ecs/ecs.config\n",
        f"# {SET}=true\n",
        f"echo {SET}=yes >> /etc/ecs/ecs.config\n",  # no truth for Go's strconv.ParseBool
        f"echo {SET}=true > a\necho {SET}=false >> a\n",
        mime("echo hello"),
    ],
)
def test_hosts_do_not_drain_by_themselves(text: str) -> None:
    assert not drains_on_notice(text)


def test_jobs_reach_the_metadata_service_unless_their_slice_is_denied_it() -> None:
    assert reaches_metadata("")
    assert reaches_metadata(mime("echo 169.254.169.254"))
    assert reaches_metadata("[Slice]\nIPAddressDeny=10.0.0.0/8\n")
    assert not reaches_metadata(user_data())
    assert not reaches_metadata(base64.b64encode(user_data().encode()).decode())
