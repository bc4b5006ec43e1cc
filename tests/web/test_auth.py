"""The one door."""

import pytest

from meterhall.model.errors import Forbidden, Unauthorized
from meterhall.model.tenant import Principal, Tenant
from meterhall.web.auth import authenticate, require_project, require_scope

PRINCIPAL = Principal("aOpreudC", "id", frozenset({"query"}))


class OneKey:
    """An Access that knows one key."""

    regions = frozenset({"kr"})

    def principal(self, appkey: str) -> Principal | None:
        return PRINCIPAL if appkey == "good" else None

    def tenant(self, principal: Principal, region: str) -> Tenant:
        raise AssertionError("authentication issues no tenant")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-tc-app-key", b"good")],
        [(b"X-TC-APP-KEY", b"good")],
        [(b"X-Tc-App-Key", b" good\t")],
        [(b"cookie", b"x-tc-app-key=bad"), (b"x-tc-app-key", b"good"), (b"x-tc-app-key2", b"bad")],
    ],
)
def test_the_header_counts_under_any_spelling(headers: list[tuple[bytes, bytes]]) -> None:
    assert authenticate(headers, OneKey()) == PRINCIPAL


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"x-tc-app-key", b"")],
        [(b"x-tc-app-key", b"  ")],
        [(b"x-tc-app-key", b"bad")],
        [(b"x-tc-app-key", b"good,good")],
        [(b"x-tc-app-key", b"good"), (b"X-TC-APP-KEY", b"good")],
        [(b"x-tc-app-key", b"good"), (b"x-tc-app-key", b"")],
        [(b"x-tc-app-key", b"g" * 10_000)],
        [(b"x-tc-app-key", "gooď".encode())],
        [(b"authorization", b"good"), (b"x-scope-orgid", b"aOpreudC")],
        [(b"x_tc_app_key", b"good")],
    ],
)
def test_everything_else_is_unauthorized(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthorized) as caught:
        authenticate(headers, OneKey())
    assert "good" not in str(caught.value)


def test_scopes_and_projects() -> None:
    require_scope(PRINCIPAL, "manage", "query")
    require_project(PRINCIPAL, "aOpreudC")
    with pytest.raises(Forbidden, match="manage"):
        require_scope(PRINCIPAL, "manage")
    with pytest.raises(Forbidden):
        require_project(PRINCIPAL, "aopreudc")
