"""Write what README.md, docs/criteria.md, docs/testing.md and docs/images/ say of the catalogue, tiers and checks, from
where it is kept.

Only what stands between the marks is written, and of a page of an image what stands above its mark. The texts depend on
nothing but the manifests, the tables in kmi/policy and tests/data/proofs.yaml.

    .venv/bin/python hack/docs.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from hack import docs_page, docs_tables  # noqa: E402 -- found by the line above
from kmi.catalogue import load  # noqa: E402
from kmi.catalogue.chart import rows  # noqa: E402
from kmi.policy import pages  # noqa: E402

PAGES = "docs/images"


def generated(root: Path) -> dict[str, str]:
    """Every file by its path below ``root``, as it should be. ``pages.Unmarked`` for one without its marks."""
    found = rows(load(root / "distros").specs)
    proofs = yaml.load((root / "tests/data/proofs.yaml").read_bytes(), yaml.BaseLoader)  # noqa: S506 -- only text
    readme, criteria, testing = (read(root / name) for name in ("README.md", "docs/criteria.md", "docs/testing.md"))
    assert readme is not None and criteria is not None and testing is not None
    criteria = pages.spliced(criteria, "tiers", docs_tables.tiers())
    made = {
        "README.md": pages.spliced(readme, "chart", docs_tables.chart(found, proofs)),
        "docs/criteria.md": pages.spliced(criteria, "criteria", docs_tables.criteria()),
        "docs/testing.md": pages.spliced(testing, "checks", docs_tables.checks()),
    }
    for distro in dict.fromkeys(row.first.id.distro for row in found):
        releases = [row for row in found if row.first.id.distro == distro]
        if not all(row.planned for row in releases):
            path = f"{PAGES}/{distro}.md"
            made[path] = pages.renewed(docs_page.head(releases, proofs), read(root / path))
    return made


def read(path: Path) -> str | None:
    """The file's text with its line ends as they are; None if it is not there."""
    return path.read_bytes().decode() if path.exists() else None


def main() -> int:
    made = generated(ROOT)
    (ROOT / PAGES).mkdir(parents=True, exist_ok=True)
    for path, text in made.items():
        if read(ROOT / path) != text:
            (ROOT / path).write_bytes(text.encode())
            print(path)
    stale = sorted({str(path.relative_to(ROOT)) for path in (ROOT / PAGES).glob("*.md")} - made.keys())
    for path in stale:
        print(f"{path} is of no image any more: remove it", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
