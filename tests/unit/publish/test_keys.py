"""Key pairs, made by the real cosign."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kmi.errors import BuildError, UsageError
from kmi.publish import cosign, keys
from kmi.publish.keys import KeyPair


def test_made_on_first_use_and_then_kept(tmp_path: Path) -> None:
    private = tmp_path / "new" / "cosign.key"
    first = keys.ensure(private, {})
    assert first.created
    assert {path.name: path.stat().st_mode & 0o777 for path in private.parent.iterdir()} == {
        "cosign.key": 0o600,
        "cosign.password": 0o600,
        "cosign.pub": 0o644,
    }
    assert len(first.password) >= 32
    before = private.read_bytes()
    again = keys.ensure(private, {})
    assert (again.created, again.password, private.read_bytes()) == (False, first.password, before)
    assert first.password not in repr(first)
    assert "ENCRYPTED" in before.decode()


def test_a_password_of_the_environment_is_not_stored(tmp_path: Path) -> None:
    private = tmp_path / "cosign.key"
    pair = keys.ensure(private, {"COSIGN_PASSWORD": "of the environment"})
    assert not (tmp_path / "cosign.password").exists()
    assert cosign.public_key(private, "of the environment") == pair.public.read_text()
    with pytest.raises(UsageError, match="no password"):
        keys.ensure(private, {})


def test_a_wrong_password(tmp_path: Path) -> None:
    pair = keys.ensure(tmp_path / "cosign.key", {})
    pair.public.unlink()
    with pytest.raises(BuildError, match="cosign failed") as caught:
        keys.ensure(pair.private, {"COSIGN_PASSWORD": "a wrong one"})
    assert "decrypt" in str(caught.value.got)
    assert "a wrong one" not in str(caught.value)


def test_a_lost_public_key_is_derived(tmp_path: Path) -> None:
    pair = keys.ensure(tmp_path / "cosign.key", {})
    text = pair.public.read_text()
    pair.public.unlink()
    assert keys.ensure(pair.private, {}).public.read_text() == text


def test_a_lost_private_key_is_not_replaced(tmp_path: Path) -> None:
    pair = keys.ensure(tmp_path / "cosign.key", {})
    pair.private.unlink()
    with pytest.raises(UsageError, match="without its private key"):
        keys.ensure(pair.private, {})


def test_a_kill_after_the_password_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "cosign.password").touch(mode=0o600)
    (tmp_path / "cosign.password").write_text("from before\n")
    assert keys.ensure(tmp_path / "cosign.key", {}).password == "from before"


@pytest.mark.parametrize("name", ["cosign.key", "cosign.password"])
def test_what_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    keys.ensure(tmp_path / "cosign.key", {})
    (tmp_path / name).chmod(0o640)
    with pytest.raises(UsageError, match="others can read") as caught:
        keys.ensure(tmp_path / "cosign.key", {})
    assert caught.value.got == "mode 0640"


def test_two_at_once_make_one_pair(tmp_path: Path) -> None:
    made: list[KeyPair] = []
    threads = [threading.Thread(target=lambda: made.append(keys.ensure(tmp_path / "cosign.key", {}))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pair.created for pair in made) == [False, True]
    assert made[0].password == made[1].password


def test_fingerprint(tmp_path: Path) -> None:
    pair = keys.ensure(tmp_path / "cosign.key", {})
    assert cosign.fingerprint(pair.public) == cosign.fingerprint(pair.public)
    for wrong in (pair.private, tmp_path / "absent.pub"):
        with pytest.raises(UsageError):
            cosign.fingerprint(wrong)
