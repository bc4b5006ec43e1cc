"""An agent's end of the channel, a call at a time: the real messages over real HTTP, sent when the test says so."""

import http.client
import itertools
import json
import uuid
from dataclasses import dataclass, field

from meterhall.wire.agent_calls import (
    AgentTargets,
    Enrolled,
    Enrolment,
    ReportAnswer,
    decode_message,
    encode_message,
)
from meterhall.wire.agent_report import (
    FailedScrape,
    Scrape,
    SplitPage,
    WholePage,
    encode_batch,
    shape_id,
    split_page,
)

TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Reporter:
    """One agent. `answers` of every call are (status, headers, body)."""

    port: int
    hostname: str = "web-1"
    agent_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    key: str = ""
    host_id: str = ""
    etag: str = ""

    def __post_init__(self):
        self.seqs = itertools.count()

    def call(self, method, path, body=None, headers=None, key=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"X-TC-APP-KEY": key or self.key, **(headers or {})}
        try:
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
            told = {name.lower(): value for name, value in reply.getheaders()}
            return reply.status, told, reply.read()
        finally:
            connection.close()

    def enrol(self, key, **changes):
        message = Enrolment(self.agent_id, self.hostname, "10.0.0.1", "linux", "1.0", "i-1")
        body = json.dumps(json.loads(encode_message(message)) | changes).encode()
        status, _, answer = self.call("POST", "/agent/v1/enrol", body, key=key)
        assert status == 200, answer
        enrolled = decode_message(answer, Enrolled)
        self.key, self.host_id = enrolled.key, enrolled.host_id
        return enrolled

    def targets(self):
        """What to collect, or None where nothing has changed."""
        status, headers, body = self.call(
            "GET", "/agent/v1/targets", headers={"If-None-Match": self.etag}
        )
        if status == 304:
            return None
        assert status == 200, body
        self.etag = headers["etag"]
        return decode_message(body, AgentTargets)

    def scrape(self, target_id, time_ms, outcome, duration_s=0.01):
        return Scrape(next(self.seqs), target_id, time_ms, duration_s, outcome)

    def send(self, scrapes, *, backfill=False, dropped=0):
        headers = {"X-Meterhall-Backfill": "1"} if backfill else {}
        body = encode_batch(scrapes, dropped)
        return self.call("POST", "/agent/v1/reports", body, headers)

    def report(self, *scrapes, backfill=False) -> ReportAnswer:
        """A report that must be taken."""
        status, _, body = self.send(scrapes, backfill=backfill)
        assert status == 200, body
        return decode_message(body, ReportAnswer)


def whole(page: str) -> WholePage:
    return WholePage(TEXT, page.encode())


def split(page: str, *, told: bool = False) -> SplitPage:
    """The page as words; `told` leaves its shape out."""
    shape, words = split_page(page.encode())
    return SplitPage(TEXT, shape_id(shape), words, None if told else shape)


def failed(kind="connect_error", reason="connection refused", status=0) -> FailedScrape:
    return FailedScrape(kind, reason, status)
