from __future__ import annotations

from pathlib import Path

import pytest

from kmi.errors import UsageError
from kmi.settings import load, mapped


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


def test_flags_that_are_no_settings_stay_flags(tmp_path: Path) -> None:
    """``--source bootstrap`` once overwrote a setting of the same name: options of verbs are not settings."""
    import argparse

    from kmi.cli import parser
    from kmi.settings import Settings

    verbs = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    shared = {action.dest for verb in verbs.choices.values() for action in verb._actions}
    assert shared & set(Settings.__dataclass_fields__) <= {"cache", "output", "distros", "base", "registry", "key"}
