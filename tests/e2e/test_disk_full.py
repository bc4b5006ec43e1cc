"""A disk that is full: pushes are told to come again, reads go on, and service returns with the space.

The data directory is on a small tmpfs of its own, which takes the right to mount one.
"""

import subprocess
import time
import urllib.error
import urllib.request

import pytest

from e2e.service import Service, eventually
from wire.write_request import body_of

FILE_SYSTEM_BYTES = 24 << 20


@pytest.fixture
def small_disk(tmp_path):
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={FILE_SYSTEM_BYTES}", "tmpfs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"a file system of its own cannot be mounted here: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


# More than the log may still have room for in its last page of a full file system.
SERIES = 2_000


def push(service, time_ms):
    """(status, Retry-After) of a push of one sample a series."""
    series = [({"__name__": "kept", "i": str(i)}, [(time_ms, 1.0)]) for i in range(SERIES)]
    request = urllib.request.Request(
        f"{service.url}/prometheus/api/v1/write",
        body_of(series),
        {
            "X-TC-APP-KEY": service.key,
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


def fill_up(file):
    """Writes until the file system has no room left, which raises OSError."""
    with file.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 65_536)


def test_a_full_disk_costs_nothing_that_was_acknowledged(small_disk):
    service = Service(small_disk / "data").start()
    try:
        start_ms = int(time.time() * 1000) - 60_000
        assert push(service, start_ms) == (204, None)
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space"):
            fill_up(ballast)
        status, retry_after = push(service, start_ms + 1)
        assert (status, int(retry_after) > 0) == (503, True)
        assert service.value("count(kept)") == SERIES
        jobs = f"/v1.0/projects/{service.project}/jobs"
        assert service.request("GET", jobs)[1]["header"]["isSuccessful"]
        draft = {"jobName": "later", "metricsPath": "/m"}
        refused = service.request("POST", jobs, draft)[1]["header"]
        assert (refused["resultCode"], "Traceback" in refused["detail"]) == (-50000, False)

        ballast.unlink()
        eventually(lambda: push(service, start_ms + 2)[0] == 204)
        assert service.guide("POST", "/jobs", draft)["jobName"] == "later"
        eventually(lambda: service.value("time() - timestamp(up) < 5") is not None)
        service.kill()
        service.start()
        stored = service.value('count_over_time(kept{i="7"}[5m])')
        assert stored >= 2
    finally:
        service.kill()
