"""Addresses that open one file for a limited time: HMAC of path and expiry.

Streamlit's session does not guard routes beside it, so a page hands out signed addresses and the
routes refuse all others. The key lives as long as the process: a restarted server signs anew.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from secrets import token_bytes
from urllib.parse import quote, urlencode

LIFETIME_S = 12 * 3600
_STEP_S = 3600


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs paths with one key. `key` is 32 random bytes unless given."""

    key: bytes = field(default_factory=lambda: token_bytes(32), repr=False)

    def sign(self, path: str, now_s: float | None = None) -> str:
        """Return the address of `path` (not yet percent-encoded) for the next 12 to 13 hours.

        Expiry falls on full hours, so that a page drawn twice gives the same address and the
        browser keeps what it has loaded.
        """
        now_s = time.time() if now_s is None else now_s
        expires = (int(now_s) // _STEP_S + 1) * _STEP_S + LIFETIME_S
        query = urlencode({"expires": expires, "signature": self._digest(path, expires)})
        return f"{quote(path)}?{query}"

    def refuse(
        self, path: str, expires: str, signature: str, now_s: float | None = None
    ) -> str | None:
        """Say in words why an address is not valid; None where it is."""
        now_s = time.time() if now_s is None else now_s
        if not (expires.isascii() and expires.isdigit() and len(expires) < 16 and signature):
            return "this address is not signed; open the episode's page"
        expected = self._digest(path, int(expires))
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            return "this address has a wrong signature; open the episode's page again"
        if int(expires) < now_s:
            return "this address has expired; load the page again"
        return None

    def _digest(self, path: str, expires: int) -> str:
        return hmac.new(self.key, f"{expires}\n{path}".encode(), hashlib.sha256).hexdigest()
