"""Authorization of requests by one token: as a bearer, or in a browser's session cookie."""

import hmac
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

COOKIE = "livesegments_session"
SESSION_SECONDS = 12 * 3_600


class Token:
    """The token; without one everybody is authorized."""

    def __init__(self, token: str, now_s: Callable[[], float] = time.time) -> None:
        self._token, self._now_s = token.encode(), now_s

    @property
    def is_set(self) -> bool:
        """True if requests need the token."""
        return bool(self._token)

    def equals(self, given: str) -> bool:
        """Compare a text with the token, in a time that does not depend on either's content."""
        # Digests have one length, whatever was given.
        wanted, found = (
            hmac.digest(b"livesegments", each, "sha256")
            for each in (self._token, given.encode(errors="surrogateescape"))
        )
        return self.is_set and hmac.compare_digest(wanted, found)

    def is_authorized(self, authorization: str, cookie: str) -> bool:
        """Return whether the values of these two headers authorize a request."""
        if not self.is_set:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self.equals(given.strip())
        return self._is_session(cookie)

    def session_cookie(self, *, secure: bool) -> str:
        """Return the value of ``Set-Cookie`` for a browser that has given the token.

        ``secure`` is for a request that came by https.
        """
        expires_s = int(self._now_s()) + SESSION_SECONDS
        value = f"{self._signature(expires_s)}.{expires_s}"
        attributes = f"Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict"
        return f"{COOKIE}={value}; {attributes}" + ("; Secure" if secure else "")

    def no_cookie(self) -> str:
        """Return the value of ``Set-Cookie`` that ends a session."""
        return f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"

    def _is_session(self, cookie: str) -> bool:
        try:
            given = SimpleCookie(cookie).get(COOKIE)
        except CookieError:
            return False
        signature, _, expires = (given.value if given else "").partition(".")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            return False
        expected = self._signature(int(expires)).encode()
        genuine = hmac.compare_digest(expected, signature.encode(errors="surrogateescape"))
        return genuine and self._now_s() < int(expires)

    def _signature(self, expires_s: int) -> str:
        return hmac.new(self._token, b"session%d" % expires_s, "sha256").hexdigest()
