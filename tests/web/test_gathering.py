"""What is written in one turn of the loop leaves together, in order, and nothing is left behind."""

import asyncio

import pytest

from meterhall.web.gathering import Gathering


class Recorder(asyncio.Transport):
    """Notes each system call that it would make."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def write(self, data):
        self.calls.append(bytes(data))

    def writelines(self, list_of_data):
        self.calls.append(b"".join(list_of_data))

    def close(self):
        self.calls.append("close")

    def abort(self):
        self.calls.append("abort")


TURNS = [
    ([[b"head", b"body"]], [b"headbody"]),
    ([[b"head"]], [b"head"]),
    ([[b"head"], [b"body"]], [b"head", b"body"]),
    ([[b"head", b"piece", b"piece"]], [b"headpiece", b"piece"]),
    ([[b"head", b""]], [b"head"]),
    ([[b""]], []),
    ([[b"one", b"two", b"three", memoryview(b"four")]], [b"onetwo", b"threefour"]),
    ([[b"head", "close"]], [b"head", "close"]),
    ([[b"head", b"body", "close"]], [b"headbody", "close"]),
    ([["close"]], ["close"]),
    ([[b"head", "abort"]], ["abort"]),
]


@pytest.mark.parametrize(("turns", "calls"), TURNS)
def test_turns(turns, calls):
    recorder = Recorder()

    async def main():
        transport = Gathering(recorder, asyncio.get_running_loop())
        for turn in turns:
            for action in turn:
                if isinstance(action, str):
                    getattr(transport, action)()
                else:
                    transport.write(action)
            await asyncio.sleep(0)

    asyncio.run(main())
    assert recorder.calls == calls


def test_over_a_socket():
    """A real server that answers in two writes, and at last closes."""
    lines = [b"%d %s\n" % (number, b"x" * 10**number) for number in range(7)]

    class Answering(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = Gathering(transport, asyncio.get_running_loop())

        def data_received(self, data):
            for line in lines:
                self.transport.write(line)
            self.transport.close()

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Answering, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"?")
        found = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        server.close()
        return found

    assert asyncio.run(main()) == b"".join(lines)
