"""OAuth 2.0 client credentials (RFC 6749, section 4.4) as tokens of SASL/OAUTHBEARER."""

import json
import ssl
import time
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote_plus, urlencode
from urllib.request import Request, urlopen

from kafka.errors import KafkaError, SaslAuthenticationFailedError
from kafka.net.sasl.oauth import AbstractTokenProvider

TIMEOUT_SECONDS = 5.0
RENEW_SHARE = 0.8
"""Fraction of a token's lifetime after which the next one is requested, as in Kafka's own client.

kafka-python authenticates again at 85 % of the time left when it connected, so always later.
"""


class TokenError(KafkaError):  # type: ignore[misc]
    """The token endpoint is unavailable; a retry may help."""


class TokenRefusedError(SaslAuthenticationFailedError):  # type: ignore[misc]
    """The token endpoint rejects the client, so a retry does not help."""


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client: its token endpoint, its credentials, and the scope to ask for, if any."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""

    def request(self) -> Request:
        """Return the request for a token."""
        form = {"grant_type": "client_credentials"} | ({"scope": self.scope} if self.scope else {})
        # Section 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        headers = {
            "Authorization": f"Basic {b64encode(pair.encode()).decode()}",
            "Accept": "application/json",
        }
        return Request(self.url, urlencode(form).encode(), headers)  # noqa: S310 - checked in the settings


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Token provider of kafka-python that renews its token before it expires.

    Thread-safe; a copy in another process requests its own token. The SASL ``extensions`` are sent
    with each token.
    """

    def __init__(self, client: Client, extensions: Mapping[str, str]) -> None:
        super().__init__()
        self._client, self._extensions = client, dict(extensions)
        self._lock = Lock()
        self._token, self._renew_at = "", 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._client, self._extensions)

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions."""
        return self._extensions

    def token(self) -> str:
        """Return a token that is not about to expire.

        Raises
        ------
        TokenError
            If the token endpoint is unavailable.
        TokenRefusedError
            If it rejects the client.
        """
        with self._lock:
            now = time.monotonic()
            if now >= self._renew_at:
                self._token, lifetime = _parse(self._client, _ask(self._client))
                self._renew_at = now + RENEW_SHARE * lifetime
            return self._token


def _ask(client: Client) -> bytes:
    try:
        with urlopen(client.request(), timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return bytes(answer.read())
    except HTTPError as error:
        with error:
            why = f"{error.code} {error.reason}: {_reason(error.read())}".rstrip(": ")
        if error.code == 429 or error.code >= 500:
            raise TokenError(f"the token endpoint {client.url} answers {why}") from None
        raise TokenRefusedError(
            f"the token endpoint {client.url} refuses client {client.client_id!r}: {why}"
        ) from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise TokenRefusedError(
                f"the token endpoint {client.url} has a certificate that is not trusted:"
                f" {error.reason.verify_message} (SSL_CERT_FILE names a PEM file of CAs)"
            ) from None
        raise TokenError(
            f"the token endpoint {client.url} cannot be reached: {error.reason}"
        ) from None
    except OSError as error:  # while the answer is read
        raise TokenError(f"the token endpoint {client.url} cannot be reached: {error}") from None


def _reason(body: bytes) -> str:
    """Return the error in a response, as section 5.2 defines it."""
    try:
        answer = json.loads(body)
        told = [answer.get("error"), answer.get("error_description")]
    except (ValueError, AttributeError):
        return ""
    return ", ".join(" ".join(str(each).split())[:200] for each in told if each)


def _parse(client: Client, body: bytes) -> tuple[str, float]:
    """Return a token and its lifetime in seconds; 0 if it is not known, so it is used once."""
    try:
        answer = json.loads(body)
        token = answer["access_token"]
        if not isinstance(token, str) or not token:
            raise TypeError
        lifetime = float(answer.get("expires_in") or _lifetime(token))
    except (ValueError, KeyError, TypeError):
        raise TokenRefusedError(
            f"the token endpoint {client.url} answers without a token"
        ) from None
    return token, lifetime


def _lifetime(token: str) -> float:
    """Return the remaining lifetime that a JWT states, in seconds; 0 if it states none."""
    try:
        claims = token.split(".")[1]
        expires = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        return max(0.0, float(expires) - time.time())
    except (ValueError, KeyError, IndexError, TypeError):
        return 0.0
