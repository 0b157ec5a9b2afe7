"""Who may listen where, and who is let in."""

import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.serving.options import authorised, check_listening, is_loopback

TOKEN = "0123456789" + "abcdef"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("", False),
        ("::", False),
        ("cell", False),
    ],
)
def test_loopback_is_told_from_the_rest(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("protocol", "host", "token", "insecure", "match"),
    [
        ("websocket", "0.0.0.0", "", False, "expected a token"),
        ("franka-http", "192.168.1.5", "", True, "expected a token"),
        ("towel-tcp", "0.0.0.0", "", False, "or say --insecure-listen"),
        ("towel-tcp", "127.0.0.1", TOKEN, False, "no place for a token"),
        ("websocket", "127.0.0.1", "short", False, "at least 16 characters"),
    ],
)
def test_servers_that_strangers_could_use_are_refused(protocol, host, token, insecure, match):
    with pytest.raises(UserMistake, match=match):
        check_listening(protocol, host, token, insecure)


@pytest.mark.parametrize(
    ("protocol", "host", "token", "insecure"),
    [
        ("websocket", "127.0.0.1", "", False),
        ("franka-http", "0.0.0.0", TOKEN, False),
        ("towel-tcp", "::1", "", False),
        ("towel-tcp", "0.0.0.0", "", True),
    ],
)
def test_the_others_may_listen(protocol, host, token, insecure):
    check_listening(protocol, host, token, insecure)


@pytest.mark.parametrize("header", [f"Api-Key {TOKEN}", f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
def test_the_token_opens(header):
    assert authorised(header, TOKEN)


@pytest.mark.parametrize(
    "header", [None, "", TOKEN, "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \udce9"]
)
def test_anything_else_does_not(header):
    assert not authorised(header, TOKEN)


def test_without_a_token_all_are_let_in():
    assert authorised(None, "")
