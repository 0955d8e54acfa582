from kmi.pipeline.explain import changes


def test_a_changed_list_is_told_by_its_items() -> None:
    before = {"recipe": {"packages": ["git", "screenfetch"], "upgrade": "none"}, "version": 1}
    now = {"recipe": {"packages": ["git", "fastfetch"], "upgrade": "all"}, "version": 1}
    assert changes(before, now) == ["recipe.packages: +fastfetch -screenfetch", "recipe.upgrade: none → all"]


def test_nothing_before_or_nothing_changed() -> None:
    assert changes(None, {"a": 1}) == []
    assert changes({"a": 1}, {"a": 1}) == []


def test_new_gone_reordered_and_long() -> None:
    assert changes({"gone": "x"}, {"new": 2}) == ["gone: x → nothing", "new: nothing → 2"]
    assert changes({"a": ["x", "y"]}, {"a": ["y", "x"]}) == ["a: other order"]
    assert changes({"a": "b" * 64}, {"a": "c" * 64}) == [f"a: {'b' * 23}… → {'c' * 23}…"]
