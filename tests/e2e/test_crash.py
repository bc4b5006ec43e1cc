"""kill -9 and start again: everything acknowledged is there once, collection goes on, the key works."""

import subprocess
import sys
import threading
import time

from e2e.service import eventually, meterhall


class Sender(threading.Thread):
    """Pushes counters until it is refused; `acknowledged` is the ledger, kept outside the service."""

    def __init__(self, service, number, start_ms):
        super().__init__(daemon=True)
        self.service = service
        self.labels = {"__name__": "ledger", "job": "sender", "number": str(number)}
        self.start_ms = start_ms
        self.acknowledged = []

    def run(self):
        for count in range(100_000):
            samples = [(self.start_ms + count * 10 + extra, float(count)) for extra in range(3)]
            try:
                status, text = self.service.push([(self.labels, samples)])
            except OSError:
                return
            assert status == 204, text
            self.acknowledged += samples


def test_nothing_acknowledged_is_lost_or_doubled(service):
    senders = []
    # Samples of the past hour, so that no clock is in the way.
    start_ms = int(time.time() * 1000) - 3_600_000
    for number in range(4):
        sender = Sender(service, number, start_ms + number)
        senders.append(sender)
        sender.start()
        eventually(lambda sender=sender: len(sender.acknowledged) > 100)
        service.kill()
        sender.join(10)
        assert not sender.is_alive()
        service.start()
    for sender in senders:
        selector = f'ledger{{number="{sender.labels["number"]}"}}[2h]'
        (series,) = service.prometheus("query", query=selector)["result"]
        stored = {round(t * 1000): float(v) for t, v in series["values"]}
        assert len(stored) == len(series["values"])
        missing = [pair for pair in sender.acknowledged if stored.get(pair[0]) != pair[1]]
        assert not missing
    collected = 'count_over_time(up{job="@Linux"}[1h])'
    # Four kills may have come before the first scrape.
    before = eventually(lambda: service.value(collected))
    eventually(lambda: service.value(collected) > before)


def test_a_second_service_on_the_same_directory_is_refused(service):
    second = subprocess.run(
        [
            *(sys.executable, "-m", "meterhall", "quickstart", "--data", str(service.data)),
            *("--listen", "127.0.0.1:0"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert str(service.data) in second.stderr
    assert "Traceback" not in second.stderr
    assert service.prometheus("query", query="1")
    assert "meterhall" in meterhall("--version")


def test_sigterm_ends_with_0_and_loses_nothing(service):
    eventually(lambda: service.query("node_load1"))
    begun = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - begun < 10
    service.start()
    assert service.query("last_over_time(node_load1[5m])")
