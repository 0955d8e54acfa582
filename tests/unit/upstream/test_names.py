"""Names with a build in them: what matches, and which is newest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.upstream import names


@pytest.mark.parametrize(
    ("template", "text", "build"),
    [
        ("Alma-9-{build}.x86_64.qcow2", "Alma-9-9.8-20260526.x86_64.qcow2", "9.8-20260526"),
        ("Alma-9-{build}.x86_64.qcow2", "Alma-9-latest.x86_64.qcow2", None),
        ("v{build}/", "v20260715.556894/", "20260715.556894"),
        ("v{build}/", "v20260715.556894", None),
        ("{build}/di-{build}.qcow2", "20260913T163055Z/di-20260913T163055Z.qcow2", "20260913T163055Z"),
        ("{build}/di-{build}.qcow2", "20260913T163055Z/di-20260914T163055Z.qcow2", None),
        ("FLATCAR_VERSION_ID={build}", "FLATCAR_VERSION_ID=4230.2.4", "4230.2.4"),
        ("a.b{build}", "axb1", None),
        ("v{build}", "v" + "1" * 101, None),
        ("no build", "no build", None),
    ],
)
def test_match(template: str, text: str, build: str | None) -> None:
    assert names.match(template, text) == build


@given(st.text(max_size=40), st.text(max_size=40), st.from_regex(r"\A[0-9][0-9A-Za-z._+-]{0,20}\Z"))
def test_what_is_filled_in_is_found_again(before: str, after: str, build: str) -> None:
    template = before.replace("{", "") + names.BUILD + after.replace("{", "")
    text = names.fill(template, build)
    found = names.match(template, text)
    assert found is not None and names.fill(template, found) == text


def test_numbers_count_as_numbers() -> None:
    assert names.newest(["9.9-20260101", "9.10-20250101", "9.10-20240101"]) == "9.10-20250101"
    assert names.newest([]) is None
    assert names.older("9.9", "9.10") and not names.older("9.10", "9.10")


@given(st.lists(st.from_regex(r"\A[0-9][0-9A-Za-z._+-]{0,20}\Z"), min_size=1))
def test_none_is_newer_than_the_newest(builds: list[str]) -> None:
    best = names.newest(builds)
    assert best is not None and not any(names.older(best, build) for build in builds)


def test_numbers_of_any_length_and_of_other_alphabets_have_an_order() -> None:
    """int() refuses more than 4,300 digits, and str.isdigit is true of what int() cannot read."""
    assert names.older("9" * 5000, "1" + "0" * 5000)
    assert not names.older("1.02", "1.2") and not names.older("1.2", "1.02")
    assert names.newest(["1.²", "1.٣", "1.3"]) != "1.3"


@pytest.mark.parametrize("build", ["", "a b", "../x", "x/y", "-x", "é", "1\n", "x" * 101, "²"])
def test_what_is_no_word(build: str) -> None:
    assert not names.word(build)
    assert names.word("OL9U8_x86_64-kvm-b293") and names.word("44.20260913.3.0")
