"""What the documents say of the catalogue and of the tiers is what the manifests and the tables say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from hack import docs, docs_page, docs_tables
from kmi.catalogue import load
from kmi.catalogue.chart import Row, rows
from kmi.policy import pages
from kmi.policy.criteria import CRITERIA

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the texts are made from."""
    shutil.copytree(ROOT / "distros", tmp_path / "distros")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "tests/data").mkdir(parents=True)
    shutil.copy(ROOT / "tests/data/proofs.yaml", tmp_path / "tests/data")
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def row(distro: str, release: str) -> Row:
    found = rows(load(ROOT / "distros").specs)
    return next(row for row in found if (row.first.id.distro, row.first.id.release) == (distro, release))


def test_the_committed_texts_are_current() -> None:
    made = docs.generated(ROOT)
    stale = [path for path, text in made.items() if docs.read(ROOT / path) != text]
    assert stale == [], "run `make docs`"
    kept = {str(path.relative_to(ROOT)) for path in (ROOT / docs.PAGES).glob("*.md")}
    assert kept == {path for path in made if path.startswith(docs.PAGES)}, "pages of no image, or images of no page"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("README.md", "| preview |", "| stable |"),
        ("docs/criteria.md", "| no |", "| yes |"),
        ("docs/images/debian.md", "`debian`", "`root`"),
    ],
)
def test_a_stale_text_is_found(copy: Path, path: str, old: str, new: str) -> None:
    text = docs.generated(copy)[path]
    assert old in text
    (copy / path).write_text(stale := text.replace(old, new, 1))
    assert docs.generated(copy)[path] == text != stale


def test_what_people_wrote_survives(copy: Path) -> None:
    page = copy / "docs/images/debian.md"
    head, mark, _ = docs.generated(copy)["docs/images/debian.md"].encode().partition(pages.MARK.encode())
    written = "\r\n## Ours\r\n\ttabs, é, no end".encode()
    page.write_bytes(head.replace(b"Debian", b"Dbeian") + mark + written)
    assert docs.generated(copy)["docs/images/debian.md"].encode() == head + mark + written


def test_a_new_distro_gets_a_page_and_a_planned_one_none(copy: Path) -> None:
    (copy / "docs/images/debian.md").unlink()
    made = docs.generated(copy)
    assert made["docs/images/debian.md"].endswith(f"{pages.MARK}\n\n## Common uses\n")
    assert "docs/images/openbsd.md" not in made and "docs/images/vyos.md" not in made


def test_every_page_can_be_tried_and_says_what_it_has_to() -> None:
    for path in sorted((ROOT / docs.PAGES).glob("*.md")):
        text = path.read_text()
        assert pages.read(path.name, text).try_me
        assert text.count(f"image: REGISTRY/{path.stem}@sha256:…\n") == 1, path
        for fact in ("default user", "firmware", "guest agent", "packages added", "licence", "redistribution"):
            assert f"| **{fact}** | " in text, f"{path}: {fact}"
        assert "kind: VirtualMachine\n" in text


def test_the_pages_that_people_wrote() -> None:
    written = {path.stem for path in (ROOT / docs.PAGES).glob("*.md") if pages.read(path.name, path.read_text()).uses}
    assert written >= {"debian", "ubuntu", "fedora", "alpine", "almalinux"}


def test_links_between_the_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "docs/criteria.md", *(ROOT / docs.PAGES).glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path}: {target}"


def test_proofs_are_claimed_for_no_more_than_they_are() -> None:
    proofs = {"ubuntu": {"documents": [{"image": "24.04-arm64", "key": "k"}, {"image": "24.04-amd64"}]}}
    ubuntu = row("ubuntu", "24.04")
    assert docs_tables.recorded(ubuntu, proofs) == ["amd64", "arm64"]
    assert docs_tables.recorded(ubuntu, proofs, signed=True) == ["arm64"]
    assert docs_tables.proof(ubuntu, proofs) == "recorded"
    assert docs_tables.proof(row("ubuntu", "26.04"), proofs) == "own"
    assert docs_tables.proof(row("rhel", "10"), proofs) == "–"
    head = docs_page.head([ubuntu], proofs)
    assert "on a recorded document for amd64, arm64; for the others on documents of our own making" in head
    assert "only on documents of our own making" in docs_page.head([ubuntu], {})
    signed = {"ubuntu": {"documents": [{"image": "24.04-arm64", "key": "k"}]}}
    assert "of the publisher and its signature for arm64; for the others" in docs_page.head([ubuntu], signed)


def test_every_release_is_in_the_chart_and_every_criterion_in_its_table() -> None:
    found = rows(load(ROOT / "distros").specs)
    chart = docs_tables.chart(found, {}).splitlines()
    for each in found:
        name = f"[{each.first.title.removesuffix(' ' + each.first.id.release)}]" if not each.planned else "| "
        version = each.first.id.release
        assert any(name in line and re.search(rf"[ *]{re.escape(version)}[ *,]", line) for line in chart), each.first.id
    assert [line.split("`")[1] for line in docs_tables.criteria().splitlines()[2:]] == [c.id for c in CRITERIA]
    assert {line.count("|") for line in chart} == {10}
