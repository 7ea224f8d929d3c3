"""Session tokens of the metadata service (EC2 user guide, "How Instance Metadata Service Version 2 works"). Pure.

A token belongs to one instance and expires. Nothing is stored: the token contains its expiry, signed.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

TTL_HEADER: Final = "x-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER: Final = "x-aws-ec2-metadata-token"  # noqa: S105  (a header's name)
MOST_SECONDS: Final = 21_600


@dataclass(frozen=True, kw_only=True, slots=True)
class Sessions:
    """Issues and checks tokens. `key` is the region's own secret."""

    key: bytes

    def token(self, instance_id: str, ttl: str, now: float) -> str | None:
        """A new token, or None if the time to live is not 1 to 21,600 seconds (400)."""
        if not (ttl.isascii() and ttl.isdigit()) or not 1 <= int(ttl[:6]) <= MOST_SECONDS or len(ttl) > 5:
            return None
        end = str(int(now) + int(ttl))
        return base64.urlsafe_b64encode(end.encode() + b"." + self._signature(instance_id, end)).decode()

    def is_valid(self, instance_id: str, token: str, now: float) -> bool:
        """Whether a token was issued for this instance and has not expired."""
        try:
            end, _, signature = base64.b64decode(token.encode(), altchars=b"-_", validate=True).partition(b".")
        except (binascii.Error, ValueError):
            return False
        if not end.isdigit() or len(end) > 12:
            return False
        return hmac.compare_digest(signature, self._signature(instance_id, end.decode())) and now < int(end)

    def _signature(self, instance_id: str, end: str) -> bytes:
        return hmac.new(self.key, f"metadata\0{instance_id}\0{end}".encode(), hashlib.sha256).digest()
