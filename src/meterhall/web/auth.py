"""From the header of a request to a Principal: the one door, for the guide's API and for Prometheus'.

Only the X-TC-APP-KEY header counts, under any spelling of its name. A key in the query string, in a
cookie or in another header is not looked at, and no header of the client ever names a tenant: the key
alone does.
"""

from collections.abc import Iterable

from meterhall.model.errors import Forbidden, Unauthorized
from meterhall.model.tenant import Principal, Scope
from meterhall.ports.access import Access

APPKEY_HEADER = "X-TC-APP-KEY"
_APPKEY_NAME = APPKEY_HEADER.lower().encode()

# Ours are 43 characters; the ceiling only keeps a header from becoming work.
_APPKEY_BYTES_MAX = 256

_UNKNOWN = "the appkey is unknown, revoked or expired"


def authenticate(raw_headers: Iterable[tuple[bytes, bytes]], access: Access) -> Principal:
    """The principal of the one appkey header of an ASGI request's raw headers.

    Answers from memory and may run on the event loop. Raises Unauthorized where the header is missing,
    empty, given twice, or its key is unknown, revoked or expired. Its text never holds the key.
    """
    values = [value for name, value in raw_headers if name.lower() == _APPKEY_NAME]
    if len(values) > 1:
        # Two headers leave open which one an earlier hop has checked.
        raise Unauthorized(f"the header {APPKEY_HEADER} was sent {len(values)} times")
    appkey = values[0].strip(b" \t") if values else b""
    if not appkey:
        raise Unauthorized(f"the header {APPKEY_HEADER} is missing or empty")
    if len(appkey) > _APPKEY_BYTES_MAX or not appkey.isascii():
        raise Unauthorized(_UNKNOWN)
    principal = access.principal(appkey.decode("ascii"))
    if principal is None:
        raise Unauthorized(_UNKNOWN)
    return principal


def require_scope(principal: Principal, *scopes: Scope) -> None:
    """Raises Forbidden unless the key has at least one of these scopes."""
    if principal.scopes.isdisjoint(scopes):
        raise Forbidden(f"the appkey lacks the scope {' or '.join(scopes)}")


def require_project(principal: Principal, project: str) -> None:
    """Raises Forbidden unless the key is of this project.

    The text is the same whether the other project exists or not.
    """
    if principal.project != project:
        raise Forbidden("the appkey does not belong to this project")
