"""The token, sessions and rate limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.serve.auth import COOKIE, SESSION_SECONDS, Token
from livesegments.serve.rate_limits import MOST_CLIENTS, RateLimit

SECRET = "correct-horse-battery-staple"


def test_a_bearer_must_have_the_token() -> None:
    token = Token(SECRET)
    assert token.is_authorized(f"Bearer {SECRET}", "")
    assert token.is_authorized(f"bearer  {SECRET} ", "")
    for given_ in ("", SECRET, f"Basic {SECRET}", "Bearer", f"Bearer {SECRET}x", "Bearer \udce4"):
        assert not token.is_authorized(given_, "")


def test_without_a_token_everybody_is_authorized_but_nothing_equals_it() -> None:
    token = Token("")
    assert token.is_authorized("", "")
    assert not token.equals("")


def test_a_session_lasts_so_long_and_is_of_this_token_alone() -> None:
    now_s = 1_000_000.0
    token = Token(SECRET, lambda: now_s)
    cookie, _, attributes = token.session_cookie(secure=True).partition(";")
    assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/"} <= set(
        attributes.split("; ")[0:]
    ) | {each.strip() for each in attributes.split(";")}
    assert token.is_authorized("", f"other=1; {cookie}")
    assert not Token("another-token-than-this", lambda: now_s).is_authorized("", cookie)
    now_s += SESSION_SECONDS
    assert not token.is_authorized("", cookie)


@given(st.text(max_size=40))
def test_no_other_cookie_is_a_session(text: str) -> None:
    token = Token(SECRET, lambda: 0.0)
    assert not token.is_authorized("", text)
    assert not token.is_authorized("", f"{COOKIE}={text}")


def test_a_later_end_needs_another_signature() -> None:
    token = Token(SECRET, lambda: 0.0)
    value = token.session_cookie(secure=False).split(";")[0]
    signature, _, expires = value.partition(".")
    assert not token.is_authorized("", f"{signature}.{int(expires) + 1}")


def test_a_bucket_refills_and_is_of_one_client() -> None:
    limit = RateLimit(per_second=2, burst=3)
    assert [limit.takes("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert limit.takes("b", 0.0)
    assert not limit.takes("a", 0.4)
    assert limit.takes("a", 0.9)
    assert limit.left("a", 100.0) == 3


@pytest.mark.parametrize("clients", [MOST_CLIENTS * 3])
def test_memory_is_bounded_however_many_clients_come(clients: int) -> None:
    limit = RateLimit(per_second=1, burst=1)
    for i in range(clients):
        limit.takes(str(i), float(i))
    assert len(limit._left) == MOST_CLIENTS
