"""Credentials for S3's REST interface, from the places where AWS's own clients look in an AWS Batch container.

Sources: AWS SDKs and Tools Reference Guide, "Container credential provider" and "IMDS credential provider": the
environment, then the container's (ECS gives the path of the job's role in a variable), then the instance's by IMDSv2.
"""

import http.client
import json
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from spotbatch.batch.errors import StoreError

CONTAINER_HOST = "http://169.254.170.2"
INSTANCE_HOST = "http://169.254.169.254"
ANSWER_SECONDS = 5.0
RENEW_SECONDS = 300.0  # before they expire
_ROLES = "/latest/meta-data/iam/security-credentials/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Never logged: no field is part of the repr."""

    key_id: str
    secret: str
    token: str
    until: float = float("inf")  # UTC epoch seconds

    def __repr__(self) -> str:
        return "Credentials(...)"


class CredentialChain:
    """The first provider that has any; refreshed shortly before they expire."""

    def __init__(self) -> None:
        self._found: Credentials | None = None
        self._lock = threading.Lock()

    def current(self) -> Credentials:
        """Raises StoreError if none are available."""
        with self._lock:
            if self._found is None or self._found.until - RENEW_SECONDS < time.time():
                self._found = _from_environment() or _from_container() or _from_instance()
            return self._found


def _from_environment() -> Credentials | None:
    key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not key_id or not secret:
        return None
    return Credentials(key_id=key_id, secret=secret, token=os.environ.get("AWS_SESSION_TOKEN", ""))


def _from_container() -> Credentials | None:
    relative, full = (os.environ.get(f"AWS_CONTAINER_CREDENTIALS_{kind}_URI") for kind in ("RELATIVE", "FULL"))
    url = f"{CONTAINER_HOST}{relative}" if relative else full
    if not url:
        return None
    token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if file := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        try:
            token = Path(file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"no credentials: AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={file!r}: {error}") from error
    return _read(_ask("GET", url, {"Authorization": token} if token else {}))


def _from_instance() -> Credentials:
    seconds = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    token = _ask("PUT", f"{INSTANCE_HOST}/latest/api/token", seconds).decode(errors="replace")
    session = {"X-aws-ec2-metadata-token": token}
    role = _ask("GET", f"{INSTANCE_HOST}{_ROLES}", session).decode(errors="replace").split("\n")[0]
    return _read(_ask("GET", f"{INSTANCE_HOST}{_ROLES}{role}", session))


def _ask(method: str, url: str, headers: dict[str, str]) -> bytes:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
        answer = connection.getresponse()
        data = answer.read(1 << 20)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StoreError(f"no credentials: neither AWS_* variables nor {parts.netloc} give any ({error})") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise StoreError(f"no credentials: {parts.netloc} answers with {answer.status}")
    return data


def _read(data: bytes) -> Credentials:
    try:
        said: dict[str, Any] = json.loads(data)
        at = datetime.fromisoformat(str(said["Expiration"])) if said.get("Expiration") else None
        return Credentials(
            key_id=str(said["AccessKeyId"]),
            secret=str(said["SecretAccessKey"]),
            token=str(said.get("Token") or ""),
            until=float("inf") if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp(),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"no credentials: the answer is not understood ({type(error).__name__})") from error
