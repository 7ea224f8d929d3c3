"""The metadata service over HTTP: each host has its own path; session tokens are required, as on the stack's hosts.

Base address of a host: `http://127.0.0.1:PORT/spotbatch/metadata/i-...`, passed to jobs as
AWS_EC2_METADATA_SERVICE_ENDPOINT. Nothing there is secret or can be changed, so there is no signature.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from spotbatch.batch.errors import NotFound
from spotbatch.local.api.http import Head, Response
from spotbatch.local.api.names import Names
from spotbatch.local.contract import Engine
from spotbatch.local.host_view import HostView
from spotbatch.local.metadata.answers import PLAIN, HostFacts, answer
from spotbatch.local.metadata.sessions import TOKEN_HEADER, TTL_HEADER, Sessions
from spotbatch.pricing.catalogue import catalogue

PREFIX: Final = "/spotbatch/metadata/"
_TOKEN_PATH: Final = "/latest/api/token"  # noqa: S105  (a path)


@dataclass(frozen=True, kw_only=True, slots=True)
class MetadataService:
    """Answers for the living hosts of one region."""

    engine: Engine
    names: Names
    sessions: Sessions
    hosts_folder: Path  # where the engine writes each host's notice
    clock: Callable[[], float]
    on_rebalance: Callable[[Sequence[str]], None] = lambda _instance_ids: (
        None
    )  # these get a recommendation for the first time
    rebalanced: dict[str, float] = field(default_factory=dict)  # hosts do not outlive the region: nothing to store

    def recommend_rebalance(self, instance_ids: list[str], count: int) -> list[str]:
        """Send hosts (or this many Spot hosts, oldest first) a rebalance recommendation. Raises NotFound."""
        living = {one.instance_id: one for one in self.engine.living_hosts() if one.is_spot and not one.is_fargate}
        if unknown := [one for one in instance_ids if one not in living]:
            raise NotFound(f"there is no living Spot host {', '.join(unknown)}")
        fresh = [one for one in living if one not in self.rebalanced]
        chosen = instance_ids or fresh[:count]
        self.on_rebalance([one for one in chosen if one not in self.rebalanced])
        for one in chosen:
            self.rebalanced.setdefault(one, self.clock())
        return chosen

    def answer(self, head: Head) -> Response:
        """One request below the prefix."""
        instance_id, _, rest = head.raw_path.removeprefix(PREFIX).partition("/")
        path = f"/{rest}"
        host = self._host(instance_id)
        if host is None:
            return _status(404, "Not Found")
        if path == _TOKEN_PATH:
            return self._token(head, instance_id)
        if head.method not in ("GET", "HEAD"):
            return _status(405, "Method Not Allowed")
        if not self.sessions.is_valid(instance_id, head.header(TOKEN_HEADER), self.clock()):
            return _status(401, "Unauthorized")
        found = answer(self._facts(host), path)
        if found is None:
            return _status(404, "Not Found")
        return Response(headers=[("content-type", found.content_type)], body=found.body.encode())

    def _token(self, head: Head, instance_id: str) -> Response:
        if head.method != "PUT":
            return _status(405, "Method Not Allowed")
        if head.header("x-forwarded-for"):  # EC2 issues no token through a proxy
            return _status(403, "Forbidden")
        ttl = head.header(TTL_HEADER)
        token = self.sessions.token(instance_id, ttl, self.clock())
        if token is None:
            return _status(400, "Bad Request")
        return Response(headers=[("content-type", PLAIN), (TTL_HEADER, ttl)], body=token.encode())

    def _host(self, instance_id: str) -> HostView | None:
        return next(
            (one for one in self.engine.living_hosts() if one.instance_id == instance_id and not one.is_fargate), None
        )

    def _facts(self, host: HostView) -> HostFacts:
        types = catalogue()
        known = types.get(host.instance_type) if host.instance_type in types else None
        reclaim_at = self._reclaim_at(host)
        return HostFacts(
            instance_id=host.instance_id,
            instance_type=host.instance_type,
            zone=host.zone,
            region=self.names.region,
            account_id=self.names.account_id,
            partition="aws",
            domain="amazonaws.com",
            is_spot=host.is_spot,
            architecture=known.architecture if known else "x86_64",
            environment=host.environment,
            launched_at=host.launched_at,
            reclaim_at=reclaim_at,
            # The recommendation comes with the notice at the latest (EC2 user guide, "Rebalance recommendations").
            rebalance_at=self.rebalanced.get(host.instance_id, None if reclaim_at is None else host.noticed_at),
        )

    def _reclaim_at(self, host: HostView) -> float | None:
        """From the notice written by the engine; None before there is one."""
        try:
            said = json.loads((self.hosts_folder / host.instance_id / "notice.json").read_bytes())
            return datetime.fromisoformat(said["time"]).timestamp()
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _status(status: int, words: str) -> Response:
    body = f"<html><head><title>{status} - {words}</title></head><body><h1>{status} - {words}</h1></body></html>\n"
    return Response(status=status, headers=[("content-type", "text/html")], body=body.encode())
