from __future__ import annotations

import json

from kmi.model.metadata import BY_NAME
from kmi.wrap import metadata_layer
from tests.wrapping import EULA, LICENCE, ROOT, record


def test_every_field_with_a_value_is_a_file() -> None:
    members = {entry.name: entry for entry in metadata_layer.entries(record(), LICENCE, None)}
    fields = {name.removeprefix("kmi/metadata/") for name in members if name.startswith("kmi/metadata/")} - {""}
    assert fields == set(BY_NAME) - {"codename", "eula", "eula-url"}
    assert members["kmi/metadata/download"].data == b"the download\n"
    assert all((entry.mode, entry.owner) == (0o444, 0) for name, entry in members.items() if "/metadata/" in name[:-1])
    told = json.loads(members["kmi/metadata.json"].data or b"")
    assert told == {name: value for name, value in record().items() if value}


def test_no_path_can_be_taken_for_the_disk() -> None:
    names = [entry.name for entry in metadata_layer.entries(record(), LICENCE, EULA)]
    assert not [name for name in names if name.startswith("disk")]
    assert len(names) == len(set(names))
    for name in names:
        folder = name.rstrip("/").rpartition("/")[0]
        assert not folder or f"{folder}/" in names[: names.index(name)], f"{name} comes before its folder"


def test_the_table_is_aligned_and_in_order() -> None:
    rows = metadata_layer.table(record()).splitlines()
    assert rows[0].split() == ["title", "the", "title"]
    assert len({row.index("the ") for row in rows if "the " in row}) == 1
    assert [row.split()[0] for row in rows] == [name for name in BY_NAME if record()[name]]


def test_licence_and_eula_carry_name_address_and_text() -> None:
    members = {entry.name: entry.data for entry in metadata_layer.entries(record(), LICENCE, EULA)}
    assert (
        members["kmi/licence"] == b"Debian Free Software\nhttps://example.org/licence\n\nYou may share it.\nFreely.\n"
    )
    assert members["kmi/eula"] == b"Terms\nhttps://example.org/eula\n\nBe kind.\n"
    assert "kmi/eula" not in {entry.name for entry in metadata_layer.entries(record(), LICENCE, None)}


def test_the_entrypoint_is_the_file_of_the_containerfile() -> None:
    (script,) = [entry for entry in metadata_layer.entries(record(), LICENCE, None) if entry.name == "entrypoint.sh"]
    assert script.data == (ROOT / "containerfiles/base/entrypoint.sh").read_bytes()
    assert script.mode == 0o555
