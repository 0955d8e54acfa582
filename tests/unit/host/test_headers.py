"""Header fields that anybody may have written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kmi.host import headers

NAMES = ("Content-Length", "Content-Range", "Last-Modified", "Retry-After", "ETag")
TEXT = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d:\d\d [+-]\d{1,12}", fullmatch=True),
    st.from_regex(r"bytes (\d{1,30}|-\d)-(\d{1,30})?/(\d{1,30}|\*)", fullmatch=True),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, TEXT)), st.integers(0, 99), st.none() | TEXT)
def test_whatever_they_say_nothing_breaks(fields: dict[str, str], offset: int, known: str | None) -> None:
    for number in (headers.length(fields), headers.total(fields), headers.start(fields)):
        assert number is None or 0 <= number < 10**18
    moment = headers.modified(fields)
    assert moment is None or moment.utcoffset() is not None
    assert headers.retry_after(fields) is None or isinstance(headers.retry_after(fields), float)
    validator = headers.validator(fields)
    assert validator is None or (validator.isascii() and validator.isprintable() and len(validator) < 260)
    assert not headers.continues(fields, 0, known)


def test_a_weak_tag_is_no_validator() -> None:
    date = "Mon, 10 Feb 2025 20:19:00 GMT"
    assert headers.validator({"ETag": 'W/"a"', "Last-Modified": date}) == date
    assert headers.validator({"ETag": '"a"', "Last-Modified": date}) == '"a"'
    assert headers.validator({"ETag": 'W/"a"', "Last-Modified": "yesterday"}) is None


def test_a_part_continues_what_it_is_a_part_of() -> None:
    part = {"Content-Range": "bytes 5-9/10", "ETag": '"a"'}
    assert headers.continues(part, 5, '"a"')
    assert not headers.continues(part, 5, '"b"')
    assert not headers.continues(part, 4, '"a"')
    assert headers.continues({"Content-Range": "bytes 5-9/10"}, 5, '"a"')
