"""A client of the region's own API (/spotbatch/), using only the standard library."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from spotbatch.local.host_view import HostView
from spotbatch.local.region_file import RegionInfo

_TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionClient:
    """Talks to a running region. Raises Unavailable when it does not answer, InvalidInput or NotFound as it says."""

    info: RegionInfo
    timeout_seconds: float = _TIMEOUT_SECONDS

    def health(self) -> Mapping[str, Any]:
        """{"status": "ok", "version": ...}"""
        return self._call("GET", "health")

    def hosts(self) -> list[HostView]:
        """The region's hosts, including past ones as long as it remembers them."""
        return [HostView(**host) for host in self._call("GET", "hosts")["hosts"]]

    def vcpus(self) -> tuple[int, int | None]:
        """vCPUs of all running or booting hosts, and their limit (`--vcpu-quota`; None: no limit)."""
        found = self._call("GET", "vcpus")
        return int(found["launched"]), None if found["most"] is None else int(found["most"])

    def interrupt(
        self,
        *,
        count: int = 0,
        instance_ids: Sequence[str] = (),
        notice_seconds: float | None = None,
        rebalance: bool = False,
    ) -> list[str]:
        """Send hosts the interruption notice, then reclaim them; returns the ids of those chosen.

        With `rebalance` they only get EC2's rebalance recommendation, and keep running.
        """
        asked: dict[str, object] = {"count": count, "instance_ids": list(instance_ids), "rebalance": rebalance}
        if notice_seconds is not None:
            asked["notice_seconds"] = notice_seconds
        chosen: list[str] = self._call("POST", "interrupt", asked)["instance_ids"]
        return chosen

    def load_stack(
        self,
        name: str,
        template: Mapping[str, Any],
        *,
        parameters: Mapping[str, str] | None = None,
        imports: Mapping[str, str] | None = None,
        file: str = "",
    ) -> Mapping[str, Any]:
        """Create or update a stack: {"stack", "registered", "resources", "outputs"}, and "left" for failed removals.

        `file` is the template's path on this machine: the assets that the CDK wrote next to it are found there.
        """
        asked = {"parameters": dict(parameters or {}), "imports": dict(imports or {}), "file": file}
        return self._call("POST", "stacks", {"name": name, "template": template, **asked})

    def controller(self) -> Mapping[str, str]:
        """The outputs of the region's own controller of runs, which is created if it does not exist yet."""
        return self._call("POST", "controller", {})

    def shut_down(self) -> None:
        """Ask the region to stop. It responds first, and is gone a moment later."""
        self._call("POST", "shutdown")

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Mapping[str, Any]:
        request = urllib.request.Request(  # noqa: S310  (the endpoint is always http://127.0.0.1)
            f"{self.info.endpoint}/spotbatch/{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {self.info.secret_key}", "Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy
        try:
            with opener.open(request, timeout=self.timeout_seconds) as answer:
                value: Mapping[str, Any] = json.loads(answer.read())
                return value
        except urllib.error.HTTPError as error:
            raise _refused(error) from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"the local region at {self.info.endpoint} does not answer: {error}") from error


def _refused(error: urllib.error.HTTPError) -> Exception:
    with error:
        try:
            body = json.loads(error.read())
            message = str(body.get("error") or body.get("message"))
        except (ValueError, AttributeError):
            message = f"HTTP status {error.code}"
    if error.code == 404:
        return NotFound(message)
    return InvalidInput(message) if error.code == 400 else Unavailable(message)
