"""The listener against clients that dawdle, flood or never read; with a tiny application behind it."""

import socket
import threading
import time

import pytest
from tests.web.listening import listening

from meterhall.web.slow_clients import SlowClientSettings

PATIENCE = SlowClientSettings(head_timeout_s=0.3, head_bytes_max=10_000, stall_timeout_s=0.3)
ANSWER = b"hello"


class Application:
    """Answers `/long` with more than any socket buffers, everything else with ANSWER."""

    def __init__(self):
        self.finished = threading.Event()

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/long":
            for _ in range(400):
                body = bytes(1 << 16)
                await send({"type": "http.response.body", "body": body, "more_body": True})
            self.finished.set()
        await send({"type": "http.response.body", "body": ANSWER})


@pytest.fixture(scope="module")
def served():
    application = Application()
    with listening(application, PATIENCE) as port:
        yield port, application


@pytest.fixture
def connection(served):
    with socket.create_connection(("127.0.0.1", served[0]), timeout=10) as opened:
        yield opened


def rest(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def test_an_unfinished_head_is_cut_off(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    assert rest(connection).startswith(b"HTTP/1.1 408 ")


def test_bytes_that_trickle_do_not_move_the_limit(connection):
    connection.sendall(b"GET / HTTP/1.1\r\n")
    begun = time.monotonic()
    try:
        while time.monotonic() - begun < 10:
            connection.sendall(b"a: b\r\n")
            time.sleep(0.05)
    except OSError:
        pass
    assert time.monotonic() - begun < 5


def test_an_idle_connection_is_closed_in_silence(connection):
    assert rest(connection) == b""


def test_an_endless_head_is_cut_off(connection):
    try:
        for _ in range(100):
            connection.sendall(b"GET / HTTP/1.1\r\nx: " + b"y" * 1000)
    except OSError:
        return
    assert b"431" in rest(connection)[:20]


@pytest.mark.parametrize(
    "request_bytes", [b"NONSENSE\r\n\r\n", b"GET /?x=" + b"y" * 70_000 + b" HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_request_is_told_in_json(connection, request_bytes):
    connection.sendall(request_bytes)
    head, _, body = rest(connection).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert b'"errorType":"bad_data"' in body


def test_a_second_request_is_bounded_like_the_first(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        received += connection.recv(65536)
    assert ANSWER in received
    connection.sendall(b"GET / HT")
    assert rest(connection).startswith(b"HTTP/1.1 408 ")


def test_a_reply_before_the_body_ends_the_connection(connection):
    connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
    received = rest(connection)
    assert received.startswith(b"HTTP/1.1 200 ")


def test_requests_in_a_pipeline_are_all_answered(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    received = b""
    while received.count(ANSWER) < 3:
        chunk = connection.recv(65536)
        assert chunk, received
        received += chunk


def test_a_client_that_does_not_read_is_cut_off(served, connection):
    _, application = served
    connection.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
    # The application can only finish because the connection was given up.
    assert application.finished.wait(10)
