"""An OAuth 2.0 token endpoint for client credentials, with unsecured JWTs that Kafka accepts."""

import json
import time
from base64 import b64decode, urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus

from livesegments.local_servers import LOOPBACK


class TokenServer:
    """A token endpoint for the length of a ``with`` block.

    Attributes
    ----------
    secrets
        Secret of each client id; a token's subject is the client id.
    lifetime
        Lifetime of a token, in seconds.
    broken
        Whether every request gets status 503.
    requests
        Forms of the requests so far.
    """

    def __init__(self, secrets: dict[str, str], lifetime: float = 3600.0) -> None:
        self.secrets, self.lifetime, self.broken = dict(secrets), lifetime, False
        self.requests: list[dict[str, list[str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, body = outer._answer(self.headers.get("Authorization", ""), form)
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/token"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def _answer(self, authorization: str, form: str) -> tuple[int, dict[str, Any]]:
        self.requests.append(parse_qs(form))
        if self.broken:
            return 503, {}
        pair = b64decode(authorization.removeprefix("Basic ")).decode()
        client, _, secret = (unquote_plus(part) for part in pair.partition(":"))
        if self.requests[-1].get("grant_type") != ["client_credentials"]:
            return 400, {"error": "unsupported_grant_type"}
        if self.secrets.get(client) != secret:
            return 401, {"error": "invalid_client", "error_description": "wrong id or secret"}
        now = time.time()
        scope = self.requests[-1].get("scope", [""])[0]
        claims = {"sub": client, "iat": now, "exp": now + self.lifetime, "scope": scope}
        token = f"{_part({'alg': 'none'})}.{_part(claims)}."
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _part(claims: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
