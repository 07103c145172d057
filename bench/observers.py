"""What looks at a worker: a collector of spans, a scraper, an open page, while its parent lives.

usage: python -m bench.observers PORT; the collector's address goes to standard output.
"""

import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

ASKED: Final = {"/metrics": 1.0, "/stats": 2.0, "/history": 5.0}
"""Seconds between two questions: of a Prometheus in a hurry, and of the page."""


class Collector(BaseHTTPRequestHandler):
    """Takes spans by OTLP, and forgets them."""

    def do_POST(self) -> None:
        """Answer as if the spans were kept."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(port: int) -> None:
    worker = os.getppid()
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    print(f"http://127.0.0.1:{collector.server_port}", flush=True)
    begin(collector.serve_forever)
    for path, every in ASKED.items():
        begin(partial(ask, f"http://127.0.0.1:{port}{path}", every))
    while os.getppid() == worker:
        time.sleep(1.0)


def begin(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def ask(url: str, every: float) -> None:
    """Ask again and again; nothing answers before the worker has begun."""
    while True:
        time.sleep(every)
        try:
            with urllib.request.urlopen(url, timeout=every) as answer:
                answer.read()
        except (urllib.error.URLError, TimeoutError):
            continue


if __name__ == "__main__":
    main(int(sys.argv[1]))
