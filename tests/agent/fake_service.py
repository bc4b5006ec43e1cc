"""A thin real HTTP service in the shape of ours, which a test can make busy, wrong, silent or late."""

import contextlib
import json
import time

from aiohttp import web

from meterhall.wire import agent_calls, agent_report

LIMITS = {
    "pageBytesMax": 10 << 20,
    "samplesMax": 50_000,
    "batchBytesMax": 4 << 20,
    "batchDecodedBytesMax": 32 << 20,
}


def target(target_id="t-1", port=1, **changes):
    """One target as the service names it."""
    fields = {"job": "node", "metricsPath": "/metrics", "intervalMs": 1000, "timeoutMs": 500}
    return {"targetId": target_id, "port": port, "builtin": False} | fields | changes


class FakeService:
    """Keeps every scrape it acknowledges, by target and time, as the page that it was."""

    def __init__(self, *targets, poll_s=0.1):
        self.targets = list(targets)
        self.poll_s = poll_s
        self.revision = 1
        self.limits = dict(LIMITS)
        self.key = "agent-key"
        self.off_by_ms = 0
        self.answers = []  # Prepared answers to reports: (status, headers, JSON); else they are stored.
        self.enrol_answers = []
        self.enrolments = []
        self.requests = []
        self.shapes = {}
        self.stored = {}  # (target id, time) to the list of what was sent for it
        self.batches = []
        self.connections = set()
        self.peak_in_hand = self.in_hand = 0

    @property
    def port(self):
        return self.runner.addresses[0][1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def set_targets(self, *targets):
        self.targets = list(targets)
        self.revision += 1

    def pages(self, target_id):
        """[(time, page or failure)] of a target, by time."""
        found = [(at, sent[0]) for (name, at), sent in self.stored.items() if name == target_id]
        return sorted(found, key=lambda each: each[0])

    @contextlib.asynccontextmanager
    async def running(self, port=0, tls=None):
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post(agent_calls.ENROL_PATH, self.enrol)
        app.router.add_get(agent_calls.TARGETS_PATH, self.give_targets)
        app.router.add_post(agent_calls.REPORTS_PATH, self.take_report)
        self.runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        try:
            yield self
        finally:
            await self.runner.cleanup()

    def _answer(self, status, message, headers=None):
        clock = {agent_calls.CLOCK_HEADER: str(int(time.time() * 1000) + self.off_by_ms)}
        return web.Response(
            status=status,
            body=b"" if message is None else json.dumps(message).encode(),
            headers=clock | (headers or {}),
        )

    async def enrol(self, request):
        body = await request.read()
        self.requests.append(("enrol", dict(request.headers)))
        if self.enrol_answers:
            return self._answer(*self.enrol_answers.pop(0))
        self.enrolments.append(agent_calls.decode_message(body, agent_calls.Enrolment))
        return self._answer(200, {"hostId": "h-1", "key": self.key, "region": "kr"})

    async def give_targets(self, request):
        self.requests.append(("targets", dict(request.headers)))
        self.connections.add(request.transport.get_extra_info("peername"))
        if request.headers.get(agent_calls.KEY_HEADER) != self.key:
            return self._answer(401, {"error": "no valid key"})
        if request.headers.get("If-None-Match") == f'"{self.revision}"':
            return self._answer(304, None)
        message = {
            "revision": str(self.revision),
            "hostId": "h-1",
            "pollSeconds": self.poll_s,
            "targets": self.targets,
            "limits": self.limits,
        }
        return self._answer(200, message, {"ETag": f'"{self.revision}"'})

    async def take_report(self, request):
        self.in_hand += 1
        self.peak_in_hand = max(self.peak_in_hand, self.in_hand)
        try:
            body = await request.read()
        finally:
            self.in_hand -= 1
        self.requests.append(("report", dict(request.headers)))
        self.connections.add(request.transport.get_extra_info("peername"))
        if request.headers.get(agent_calls.KEY_HEADER) != self.key:
            return self._answer(401, {"error": "no valid key"})
        if self.answers:
            return self._answer(*self.answers.pop(0))
        batch = agent_report.decode_batch(body, self.limits["batchDecodedBytesMax"])
        self.batches.append(batch)
        unknown = [scrape.seq for scrape in batch.scrapes if not self._store(scrape)]
        stored = len(batch.scrapes) - len(unknown)
        return self._answer(200, {"stored": stored, "unknownShapes": unknown, "refused": []})

    def _store(self, scrape):
        outcome = scrape.outcome
        match outcome:
            case agent_report.WholePage(body=body):
                page = body
            case agent_report.SplitPage():
                if outcome.shape is not None:
                    assert agent_report.shape_id(outcome.shape) == outcome.shape_id
                    self.shapes[outcome.shape_id] = outcome.shape
                if outcome.shape_id not in self.shapes:
                    return False
                page = agent_report.join_page(self.shapes[outcome.shape_id], outcome.words)
            case _:
                page = outcome
        self.stored.setdefault((scrape.target_id, scrape.time_ms), []).append(page)
        return True
