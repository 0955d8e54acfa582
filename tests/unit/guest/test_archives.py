from __future__ import annotations

from kmi.guest.archives import rewritten


def test_every_prefix_is_replaced_once_the_longest_first() -> None:
    text = b"deb http://a/debian x main\ndeb http://a/debian-security x main\nURIs: http://a/other\n"
    mirrors = (("http://a/debian", "http://m/http://a/"), ("http://a/debian-security", "http://s/sec"))
    assert rewritten(text, mirrors) == (
        b"deb http://m/http://a/ x main\ndeb http://s/sec x main\nURIs: http://a/other\n"
    )
    assert rewritten(text, ()) == text
