from __future__ import annotations

from pathlib import Path

import pytest

from kmi.errors import HostError, UsageError
from kmi.host.patience import Patience
from kmi.settings import Settings, load, mapped, ways


def test_file_then_environment_then_flags(tmp_path: Path) -> None:
    (tmp_path / "kmi.toml").write_text('registry = "a.example/x"\nbase = "from-file"\ncache = "here"\n')
    settings = load(tmp_path, {"KMI_BASE": "from-environment"}, {"registry": "b.example/y", "other": 1})
    assert settings.registry == "b.example/y"
    assert settings.base == "from-environment"
    assert settings.cache == tmp_path / "here"
    assert settings.output == tmp_path / "build"


@pytest.mark.parametrize(
    ("text", "says"),
    [('registri = "x"', "did you mean 'registry'?"), ("registry = 3", "is not text"), ("= x", "cannot read kmi.toml"),
     ("mirrors = 'x'", "maps URL prefixes")],
)  # fmt: skip
def test_a_wrong_file_is_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "kmi.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load(tmp_path, {}, {})
    assert says in str(caught.value)
    assert "kmi.toml" in str(caught.value)


def test_mirrors_take_the_longest_prefix(tmp_path: Path) -> None:
    settings = load(tmp_path, {"KMI_MIRRORS": "https://a/=http://m1/ https://a/b/=http://m2/"}, {})
    assert mapped("https://a/b/c", settings.mirrors) == "http://m2/c"
    assert mapped("https://a/x", settings.mirrors) == "http://m1/x"
    assert mapped("https://z/x", settings.mirrors) == "https://z/x"


def test_several_targets_of_a_prefix_keep_their_order(tmp_path: Path) -> None:
    words = "https://b/=http://z/ https://a/=http://m2/ https://a/=http://m1/ https://b/=http://y/"
    settings = load(tmp_path, {"KMI_MIRRORS": words}, {})
    assert ways("https://a/x", settings.mirrors) == ("http://m2/x", "http://m1/x")
    (tmp_path / "kmi.toml").write_text(
        '[mirrors]\n"https://a/" = ["http://m2/", "http://m1/"]\n"https://b/" = "http://z/"\n'
    )
    settings = load(tmp_path, {}, {})
    assert ways("https://a/x", settings.mirrors) == ("http://m2/x", "http://m1/x")
    assert ways("https://b/x", settings.mirrors) == ("http://z/x",)
    assert ways("https://c/x", settings.mirrors) == ("https://c/x",)
    with pytest.raises(UsageError, match="two targets"):
        load(tmp_path, {"KMI_PACKAGE_MIRRORS": words}, {})


@pytest.mark.parametrize("text", ["mirrors.a = []", "mirrors.a = [3]", "mirrors.a = ['']", "mirrors.a = {b = 'c'}"])
def test_a_target_is_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "kmi.toml").write_text(text)
    with pytest.raises(UsageError, match="maps URL prefixes"):
        load(tmp_path, {}, {})


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e9", "soon", ""])
def test_patience_is_a_time(tmp_path: Path, text: str) -> None:
    (tmp_path / "kmi.toml").write_text(f"patience = '{text}'")
    with pytest.raises(UsageError, match="no time"):
        load(tmp_path, {}, {})


def test_all_waiting_follows_from_patience(tmp_path: Path) -> None:
    (tmp_path / "kmi.toml").write_text("patience = 60")
    assert load(tmp_path, {}, {}).patience == 60
    assert load(tmp_path, {"KMI_PATIENCE": "1.5"}, {}).patience == 1.5
    assert Patience.of(Settings().patience) == Patience()
    twice = Patience.of(60)
    assert (twice.stall, twice.connect, twice.longest, twice.attempts) == (60, 30, 240, 5)


def test_flags_that_are_no_settings_stay_flags(tmp_path: Path) -> None:
    """``--source bootstrap`` once overwrote a setting of the same name: options of verbs are not settings."""
    import argparse

    from kmi.cli import parser

    verbs = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    shared = {action.dest for verb in verbs.choices.values() for action in verb._actions}
    assert shared & set(Settings.__dataclass_fields__) <= {"cache", "output", "distros", "base", "registry", "key"}


def test_a_user_without_a_home_is_told_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kmi.settings.Path.home", homeless)
    with pytest.raises(HostError, match="no home folder") as caught:
        load(tmp_path, {}, {})
    assert "KMI_CACHE and KMI_KEY" in str(caught.value.hint)
    assert load(tmp_path, {"KMI_CACHE": "c", "KMI_KEY": "k"}, {}).key == tmp_path / "k"
