"""Generated text beside what people wrote."""

from __future__ import annotations

import pytest

from kmi.policy.pages import MARK, Unmarked, read, renewed, spliced

BEGIN, END = "<!-- chart: made by `make docs` -->", "<!-- end of chart -->"


def test_a_new_page_has_the_heading_and_counts_as_not_written() -> None:
    page = renewed("# A\n\n## Try me\n\n", None)
    assert page == f"# A\n\n## Try me\n\n{MARK}\n\n## Common uses\n"
    assert (read("a", page).try_me, read("a", page).uses) == (True, False)


@pytest.mark.parametrize("written", ["", "\n", " \r\nDOS\r\n\t\f\x00é\U0001f600 no end", f"\n{MARK}\nthe mark again\n"])
def test_what_people_wrote_stays_as_it_is(written: str) -> None:
    page = renewed("new head\n", f"old head\n{MARK}{written}")
    assert page == f"new head\n{MARK}{written}"
    assert renewed("new head\n", page) == page


def test_a_page_without_the_mark_is_nobodys_to_overwrite() -> None:
    with pytest.raises(Unmarked):
        renewed("new\n", "somebody wrote this\n")


def test_what_lies_between_the_marks_is_replaced() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter"
    assert spliced(text, "chart", "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter"
    assert spliced(f"{BEGIN}{END}", "chart", "new\n") == f"{BEGIN}\nnew\n{END}"


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{BEGIN}{END}"])
def test_without_its_marks_nothing_is_replaced(text: str) -> None:
    with pytest.raises(Unmarked):
        spliced(text, "chart", "new\n")
