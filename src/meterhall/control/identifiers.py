"""Every identifier and secret that the control plane issues, from one source of randomness.

A project's id is 8 letters, as the guide shows them (`aOpreudC`); everything else that has an id has a
random UUID. An appkey is 43 letters and digits, 256 bits: too many to guess, so a plain SHA-256 digest
is enough to store, and a slow hash on every request would only be a way to keep us busy.
"""

import hashlib
import re
import secrets
import string
import uuid
from collections.abc import Callable

RandomBytes = Callable[[int], bytes]

_PROJECT_ID_CHARS = 8
_APPKEY_CHARS = 43
# Our own pattern, linear: what an id that we issued looks like. Anything else names nothing.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # noqa: TID251

_CODE = re.compile(r"[A-Za-z0-9_-]{1,32}")  # noqa: TID251


class Identifiers:
    """Makes ids and keys. `random_bytes(n)` must be cryptographically strong outside tests."""

    def __init__(self, random_bytes: RandomBytes = secrets.token_bytes) -> None:
        self._random_bytes = random_bytes

    def project_id(self) -> str:
        """8 letters; the caller checks that they are free."""
        return self._text(string.ascii_letters, _PROJECT_ID_CHARS)

    def uuid(self) -> str:
        """A version 4 UUID in its canonical spelling."""
        return str(uuid.UUID(bytes=self._random_bytes(16), version=4))

    def appkey(self) -> str:
        """A new secret. It is shown once and kept nowhere."""
        return self._text(string.ascii_letters + string.digits, _APPKEY_CHARS)

    def _text(self, alphabet: str, chars: int) -> str:
        """Evenly distributed characters: bytes beyond the last whole multiple are thrown away."""
        fair = 256 - 256 % len(alphabet)
        text = ""
        while len(text) < chars:
            drawn = self._random_bytes(chars)
            text += "".join(alphabet[byte % len(alphabet)] for byte in drawn if byte < fair)
        return text[:chars]


def digest_of(appkey: str) -> str:
    """What is stored and looked up in place of the key: SHA-256, in hexadecimal."""
    return hashlib.sha256(appkey.encode("utf-8", "surrogatepass")).hexdigest()


def is_uuid(text: str) -> bool:
    """Whether the text can be the id of a key, host, job or target at all.

    Asked before any lookup, so that no odd text (a NUL, which PostgreSQL refuses; a lone surrogate)
    reaches a database.
    """
    return _UUID.fullmatch(text) is not None


def is_code(text: str) -> bool:
    """Whether the text can be a project's id or a region's code; asked for the same reason."""
    return _CODE.fullmatch(text) is not None
