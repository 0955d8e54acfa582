"""How often what failed is tried again."""

from __future__ import annotations

import pytest

from kmi.errors import Interrupted, VerificationError
from kmi.oci import attempts
from kmi.oci.attempts import failure, patiently, silence
from kmi.oci.logins import Login
from kmi.oci.reference import parse
from kmi.oci.trouble import Kind, NotFound, RegistryError

IMAGE = parse("registry.test/x:1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_patience", 0.03)


def failing(*kinds: Kind) -> tuple[list[str], object]:
    """Work that fails once for each of ``kinds`` and then succeeds; what it was called."""
    calls: list[str] = []

    def work() -> str:
        calls.append("")
        if len(calls) > len(kinds):
            return "done"
        error = RegistryError("failed", where="GET https://registry.test/v2/", got="500")
        error.kind = kinds[len(calls) - 1]
        raise error

    return calls, work


@pytest.mark.parametrize("kinds", [[], [Kind.BROKEN], [Kind.BROKEN] * 3, [Kind.BROKEN, Kind.SILENT, Kind.BROKEN]])
def test_what_may_pass_is_tried_again(kinds: list[Kind]) -> None:
    calls, work = failing(*kinds)
    notes: list[str] = []
    assert patiently(work, notes.append) == "done"  # type: ignore[arg-type]
    assert (len(calls), len(notes)) == (len(kinds) + 1, len(kinds))
    assert all("GET https://registry.test/v2/: 500; trying again" in note for note in notes)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [([Kind.BROKEN] * 9, 4), ([Kind.SILENT] * 9, 2)]
    + [([kind] * 9, 1) for kind in Kind if kind not in (Kind.BROKEN, Kind.SILENT)],
)
def test_nothing_is_tried_for_ever(kinds: list[Kind], expected: int) -> None:
    calls, work = failing(*kinds)
    with pytest.raises(RegistryError):
        patiently(work)  # type: ignore[arg-type]
    assert len(calls) == expected


def test_a_kind_may_be_added() -> None:
    calls, work = failing(Kind.ABSENT)
    assert patiently(work, also=Kind.ABSENT) == "done"  # type: ignore[arg-type]
    assert len(calls) == 2


def test_no_other_error_is_tried_again() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise VerificationError("no")

    with pytest.raises(VerificationError):
        patiently(work)
    assert len(calls) == 1


def test_a_stop_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "stopping", lambda: True)
    with pytest.raises(Interrupted):
        patiently(failing(Kind.BROKEN)[1])  # type: ignore[arg-type]


def test_reads_have_less_time_than_writes() -> None:
    assert 0 < silence(writing=False) < silence(writing=True)


def test_the_failure_names_request_login_and_what_to_do() -> None:
    said = 'reading manifest 1: Get "https://registry.test/v2/x/manifests/1?a=b": unauthorized: no'
    error = failure(IMAGE, said, what="cannot read", login=Login(entry={}, source="/a/auth.json"))
    assert (error.kind, error.exit_code) == (Kind.LOGIN, 6)
    assert error.where == "GET https://registry.test/v2/x/manifests/1"
    assert "there is no login in /a/auth.json" in str(error.hint) and "skopeo login registry.test" in str(error.hint)


def test_an_absent_image_has_a_class_of_its_own() -> None:
    error = failure(IMAGE, "manifest unknown", what="cannot read", login=Login(entry={}, source=""))
    assert isinstance(error, NotFound)
    assert error.where == IMAGE
