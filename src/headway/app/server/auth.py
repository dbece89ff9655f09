"""Who may ask, and for what: API keys, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from msgspec import Struct

SCHEME = b"bearer "
TENANT_CHARS = 24


class Caller(Struct, frozen=True):
    """Whoever brought a key.

    Parameters
    ----------
    tenant : str
        Whose files and jobs are theirs; says nothing about the key, and is empty where nobody needs one.
    tunes : bool
        Whether they may fine-tune.
    """

    tenant: str = ""
    tunes: bool = True


class KeyRing:
    """The API keys that open the server.

    Parameters
    ----------
    keys : sequence of str
        The keys; with none of either kind, everybody may enter and do everything.
    tuning_keys : sequence of str
        Keys with the right to fine-tune besides.
    """

    def __init__(self, keys: Sequence[str], tuning_keys: Sequence[str] = ()) -> None:
        self._digests = [(_digest(key.encode()), True) for key in dict.fromkeys(tuning_keys)]
        self._digests += [(_digest(key.encode()), False) for key in keys if key not in tuning_keys]

    def opens(self, authorization: bytes) -> bool:
        """Whether the value of an `Authorization` header holds one of the keys."""
        return self.caller(authorization) is not None

    def caller(self, authorization: bytes) -> Caller | None:
        """Who brought the value of an `Authorization` header; None when it holds none of the keys.

        Every key is compared, and digests of equal length are compared, so the time taken says nothing about any key.
        """
        if not self._digests:
            return Caller()
        is_bearer = authorization[: len(SCHEME)].lower() == SCHEME
        given = _digest(authorization[len(SCHEME) :].strip())
        rights = [tunes for digest, tunes in self._digests if hmac.compare_digest(given, digest)]
        return Caller(_tenant(given), rights[0]) if is_bearer and rights else None


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _tenant(digest: bytes) -> str:
    """A name that only whoever has the key could have made, and that does not lead back to it."""
    return hashlib.sha256(b"headway tenant" + digest).hexdigest()[:TENANT_CHARS]
