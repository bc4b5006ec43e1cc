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
_port = st.sampled_from([1, 2, 9100, "9101", 65535, "9100", "x", None])
_body = st.fixed_dictionaries(
    {
        "metricsPath": st.sampled_from(["/m", "/m", "/n", "//x"]),
        "hostId": _slot("host"),
        "port": _port,
    },
    optional={
        "jobName": st.sampled_from(["theirs", "mine", "new", "@Linux", ""]),
        "description": st.none() | st.text(max_size=5),
    },
)
# Method, whose project, path, the ids for its slots, body.
Asked = tuple[str, str, str, tuple[tuple[str, str], ...], dict[str, Any]]
_requests = st.tuples(
    st.sampled_from(("GET", "POST", "PUT", "DELETE")),
    st.sampled_from(("a", "a", "a", "a", "a", "b", "never")),
    _paths,
    st.tuples(_slot("job"), _slot("target")),
    _body,
)


class Duel:
    """A attacks, B has things. `ids` maps whose → kind → id."""

    def __init__(self, alice: Any, bob: Any) -> None:
        self.alice, self.bob = alice, bob
        self.ids = {"a": _things(alice, "mine"), "b": _things(bob, "theirs")}
        self.ids["never"] = dict.fromkeys(_KINDS, NEVER_WAS) | {"project": "aOpreudC"}

    def rearm(self) -> None:
        """Makes A's own things again where she has deleted them: attacks start from them."""
        if self.alice.call("GET", "/jobs/{job}/targets/{target}".format(**self.ids["a"])).code:
            for job in self.alice.call("GET", "/jobs").body:
                self.alice.call("DELETE", f"/jobs/{job['jobId']}")
            self.ids["a"] = _things(self.alice, "mine")

    def request(self, asked: Asked, *, stand_in: bool) -> tuple[str, str, dict[str, Any]]:
        """Method, URL and body; with `stand_in` B's ids become ones that never were."""
        method, owner, path, slots, body = asked

        def of(slot: tuple[str, str]) -> str:
            whose = "never" if stand_in and slot[0] == "b" else slot[0]
            return self.ids[whose][slot[1]]

        filled = {key: of(value) if key == "hostId" else value for key, value in body.items()}
        return (
            method,
            f"/v1.0/projects/{of((owner, 'project'))}" + path.format(*map(of, slots)),
            filled,
        )

    def send(self, method: str, url: str, body: dict[str, Any]) -> tuple[int, str]:
        headers = [
            ("X-TC-APP-KEY", self.alice.key),
            ("X-SYSMON-REGION", "kr"),
            ("Content-Type", "application/json"),
        ]
        answer = self.alice.served.send(method, url, headers, json.dumps(body).encode())
        return answer.status, answer.content.decode()

    def names_b(self, method: str, url: str, body: dict[str, Any]) -> bool:
        """Whether the call reads an id of B; those in a body that nobody reads do not count."""
        reads_host = method == "POST" and not url.endswith("/jobs")
        read = url + (str(body.get("hostId")) if reads_host else "")
        return any(one in read for one in self.ids["b"].values())

    def without_b(self, answer: str) -> str:
        for kind, one in self.ids["b"].items():
            answer = answer.replace(one, self.ids["never"][kind])
        return answer

    def state_of_b(self) -> list[bytes]:
        job = f"/jobs/{self.ids['b']['job']}"
        return [
            self.bob.call("GET", path).content
            for path in ("/jobs", "/servers", job, f"{job}/targets")
        ]


def _things(tenancy: Any, name: str) -> dict[str, str]:
    job_id = tenancy.make_job(name)
    body = {"metricsPath": "/m", "description": f"secret of {name}"}
    tenancy.call("PUT", f"/jobs/{job_id}", body)
    return {
        "project": tenancy.project_id,
        "job": job_id,
        "target": tenancy.make_target(job_id),
        "host": tenancy.host_id,
    }


def test_a_request_of_a_never_touches_or_shows_b(make_tenancy) -> None:
    """And naming a thing of B is refused, in the words in which one that never was is refused."""
    duel = Duel(make_tenancy(), make_tenancy())
    before = duel.state_of_b()

    @settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(_requests)
    def check(asked: Asked) -> None:
        duel.rearm()
        request = duel.request(asked, stand_in=False)
        status, answer = duel.send(*request)
        sent = request[1] + json.dumps(request[2])
        for secret in (*duel.ids["b"].values(), duel.bob.key, duel.bob.key_id, _SECRET):
            assert secret not in answer or secret in sent
        if duel.names_b(*request):
            assert '"isSuccessful":false' in answer
            never = duel.send(*duel.request(asked, stand_in=True))
            assert never == (status, duel.without_b(answer))
        if '"ALREADY_EXIST"' in answer and request[1].endswith("/jobs"):
            own = [job["jobName"] for job in duel.alice.call("GET", "/jobs").body]
            assert request[2]["jobName"] in own

    check()
    assert duel.state_of_b() == before
