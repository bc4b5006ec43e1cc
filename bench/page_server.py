"""A process that serves pages whose numbers change, as exporters do: `python -m bench.page_server PORT DIRECTORY`.

GET /pages/N answers the files of the directory one after the other, the N-th target beginning at the N-th;
gzipped where that is accepted. GET /count answers how many pages have been served.
"""

import itertools
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from bench.system import HOST


class PageHandler(BaseHTTPRequestHandler):
    """`pages` are (plain, gzipped) bodies."""

    protocol_version = "HTTP/1.1"
    pages: ClassVar[list[tuple[bytes, bytes]]] = []
    counts: ClassVar[dict[str, "itertools.count[int]"]] = {}
    served = 0

    def do_GET(self) -> None:
        if self.path == "/count":
            self._answer(str(PageHandler.served).encode(), None)
            return
        number = int(self.path.rpartition("/")[2])
        turn = next(PageHandler.counts.setdefault(self.path, itertools.count(number)))
        plain, packed = self.pages[turn % len(self.pages)]
        gzip = "gzip" in self.headers.get("Accept-Encoding", "")
        # A collector that is stopped hangs up on what it was reading.
        with suppress(ConnectionError):
            self._answer(packed if gzip else plain, "gzip" if gzip else None)
            PageHandler.served += 1

    def _answer(self, body: bytes, encoding: str | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


class PageServer(ThreadingHTTPServer):
    """Says nothing where a collector that is stopped hangs up between two requests."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main(port: int, directory: Path) -> None:
    """Serves until it is killed."""
    files = sorted(directory.glob("*.txt"))
    PageHandler.pages = [
        (file.read_bytes(), file.with_suffix(".gz").read_bytes()) for file in files
    ]
    PageServer((HOST, port), PageHandler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
