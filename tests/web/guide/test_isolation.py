"""Two tenants, random requests: nothing of B shows or changes, whatever A asks (S4)."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NEVER_WAS = "6f9619ff-8b86-4d11-b42d-00c04fc964ff"
_SECRET = "secret of theirs"

_KINDS = ("project", "job", "target", "host")
# Whose id fills a slot: A's own, B's, or one that never was; mostly B's, for that is what is asked here.
_whose = st.sampled_from(("a", "b", "b", "never"))


def _slot(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """An id of the right kind, and now and then of a wrong one."""
    kinds = st.sampled_from((kind,) * 8 + _KINDS)
    return st.tuples(_whose, kinds)


_paths = st.sampled_from(
    ("/jobs", "/jobs/{0}", "/jobs/{0}/targets", "/jobs/{0}/targets/{1}", "/servers", "/{0}")
)
_port = st.integers(1, 65_535) | st.sampled_from(["9100", "x", None, True, -1])
_body = st.fixed_dictionaries(
    {"metricsPath": st.sampled_from(["/m", "/n", "//x"])},
    optional={
        "jobName": st.sampled_from(["theirs", "mine", "new", "@Linux", ""]),
        "description": st.none() | st.text(max_size=5),
        "hostId": _slot("host"),
        "port": _port,
    },
)
_requests = st.tuples(
    st.sampled_from(("GET", "POST", "PUT", "DELETE")),
    st.sampled_from(("a", "a", "a", "a", "a", "b", "never")),
    _paths,
    st.tuples(_slot("job"), _slot("target")),
    _body,
)


def _things(tenancy: Any, name: str) -> dict[str, str]:
    job_id = tenancy.make_job(name)
    tenancy.call(
        "PUT", f"/jobs/{job_id}", {"metricsPath": "/m", "description": f"secret of {name}"}
    )
    return {
        "project": tenancy.project_id,
        "job": job_id,
        "target": tenancy.make_target(job_id),
        "host": tenancy.host_id,
    }


def _state(tenancy: Any, job_id: str) -> list[bytes]:
    return [
        tenancy.call("GET", path).content
        for path in ("/jobs", "/servers", f"/jobs/{job_id}", f"/jobs/{job_id}/targets")
    ]


def test_a_request_of_a_never_touches_or_shows_b(make_tenancy) -> None:
    """And naming a thing of B is answered like naming one that never was."""
    alice, bob = make_tenancy(), make_tenancy()
    ids = {"a": _things(alice, "mine"), "b": _things(bob, "theirs")}
    ids["never"] = dict.fromkeys(_KINDS, NEVER_WAS) | {"project": "aOpreudC"}
    before = _state(bob, ids["b"]["job"])
    served = alice.served

    def send(method: str, url: str, body: dict[str, Any], key: str) -> tuple[int, bytes]:
        headers = [
            ("X-TC-APP-KEY", key),
            ("X-SYSMON-REGION", "kr"),
            ("Content-Type", "application/json"),
        ]
        answer = served.send(method, url, headers, json.dumps(body).encode())
        return answer.status, answer.content

    def request(
        owner: str,
        path: str,
        slots: tuple[tuple[str, str], ...],
        body: dict[str, Any],
        stand_in: bool,
    ) -> tuple[str, dict[str, Any]]:
        """The URL and body of a request; with `stand_in` B's ids become ones that never were."""

        def of(slot: tuple[str, str]) -> str:
            whose = "never" if stand_in and slot[0] == "b" else slot[0]
            return ids[whose][slot[1]]

        filled = {key: of(value) if key == "hostId" else value for key, value in body.items()}
        url = f"/v1.0/projects/{of((owner, 'project'))}" + path.format(*map(of, slots))
        return url, filled

    @settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(_requests)
    def check(asked: tuple[str, str, str, tuple[tuple[str, str], ...], dict[str, Any]]) -> None:
        method, owner, path, slots, body = asked
        url, filled = request(owner, path, slots, body, stand_in=False)
        status, content = send(method, url, filled, alice.key)
        answer = content.decode()
        sent = url + json.dumps(filled)
        for secret in (*ids["b"].values(), bob.key, bob.key_id, _SECRET):
            assert secret not in answer or secret in sent
        touches_b = (
            owner == "b"
            or any(slot[0] == "b" for slot in slots)
            or (body.get("hostId", ("a",))[0] == "b")
        )
        if touches_b and status == 200 and json.loads(content)["header"]["isSuccessful"]:
            # Only where B's id was not looked at: an ignored key of the body, an unused slot.
            assert not any(ids["b"][kind] in url for kind in _KINDS)
            assert not (
                method == "POST" and body.get("hostId", ("a",))[0] == "b" and path != "/jobs"
            )
        elif touches_b:
            plain_url, plain_body = request(owner, path, slots, body, stand_in=True)
            again, never = send(method, plain_url, plain_body, alice.key)
            named = answer
            for kind in _KINDS:
                named = named.replace(ids["b"][kind], ids["never"][kind])
            assert (again, never.decode()) == (status, named)

    check()
    assert _state(bob, ids["b"]["job"]) == before
