"""Tokens of OAUTHBEARER as a broker of tests takes them, and who gives them."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from worker.kafka.tokens import Token


def jwt(subject: str, seconds: float) -> Token:
    """An unsecured token, as Kafka's validator for tests takes it."""

    def part(claims: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

    now = time.time()
    claims = {"sub": subject, "iat": now, "exp": now + seconds}
    return Token(f"{part({'alg': 'none'})}.{part(claims)}.", now + seconds, subject)


@contextmanager
def token_server() -> Iterator[tuple[str, list[str]]]:
    """An OpenID Connect server on this machine, and the requests that it got."""
    requests = list[str]()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append(f"{self.headers['Authorization']} {body}")
            answer = json.dumps({"access_token": jwt("alice", 3600).value, "expires_in": 3600})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token", requests
        server.shutdown()
        thread.join()
