"""Who may ask: API keys, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

SCHEME = b"bearer "


class KeyRing:
    """The API keys that open the server.

    Parameters
    ----------
    keys : sequence of str
        The keys; with none, everybody may enter.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def opens(self, authorization: bytes) -> bool:
        """Whether the value of an `Authorization` header holds one of the keys.

        Every key is compared, and digests of equal length are compared, so the time taken says nothing about any key.
        """
        if not self._digests:
            return True
        is_bearer = authorization[: len(SCHEME)].lower() == SCHEME
        given = _digest(authorization[len(SCHEME) :].strip())
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return is_bearer and any(matches)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
