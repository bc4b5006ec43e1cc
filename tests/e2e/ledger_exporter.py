"""An exporter that keeps a ledger: every page has a number of its own, written down with the time before it is sent.

    ledger_exporter.py LEDGER [PORT]

Prints its port. A line of the ledger is N and milliseconds since the epoch. The page is `ledger_page N` and ten series more, all with values that follow from N.
"""

import http.server
import itertools
import sys
import time
from pathlib import Path


def main(ledger, port):
    numbers = itertools.count()
    written = ledger.open("ab", buffering=0)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            number = next(numbers)
            lines = [f"ledger_page {number}"]
            lines += [f'ledger_part{{part="{part}"}} {number * 10 + part}' for part in range(10)]
            body = "\n".join([*lines, ""]).encode()
            written.write(b"%d %d\n" % (number, time.time_ns() // 1_000_000))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
