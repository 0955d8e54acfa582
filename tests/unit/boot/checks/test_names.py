import pytest

from kmi.boot.checks import Inapplicable, names
from kmi.boot.console import GaveUp

RESOLVED = "server=127.0.0.53\nabove=10.0.2.3\nabove=fd10:0:2::3\nabove=10.0.2.3%ens4#dns\n"
PLAIN = "server=10.0.2.3\n"
FOUND = "with=getent\nstatus=0\nsaid=151.101.194.132 cloud.example.org\n"
METADATA = {"documentation": "https://cloud.example.org/images/", "download": "https://mirror.example.net/disk.qcow2"}


def resolving(monkeypatch, *known: str) -> None:
    monkeypatch.setattr(names, "resolves", lambda name: name in known)


@pytest.mark.parametrize(
    ("servers", "way"), [(RESOLVED, "by way of the resolver at 127.0.0.53"), (PLAIN, "resolv.conf")]
)
def test_a_name_that_the_host_resolves_is_resolved(guest, monkeypatch, servers, way):
    resolving(monkeypatch, "mirror.example.net")
    found = guest(servers, FOUND, metadata=METADATA)
    seen = names.CHECK.run(found)
    assert seen.startswith("getent resolves mirror.example.net; 10.0.2.3") and way in seen
    assert "name=mirror.example.net\n" in found.ask.asked[1]


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ("server=192.0.2.53\nabove=10.0.2.3\n", "names 192.0.2.53 and not 10.0.2.3"),
        ("server=127.0.0.53\nabove=192.0.2.53\n", "at 127.0.0.53 asks 192.0.2.53 and not"),
        ("server=127.0.0.1\n", "asks nobody"),
        ("", "at 127.0.0.1 asks nobody"),
        ("server=10.0.2.3x\n", "asks nobody"),
    ],
)
def test_another_name_server_fails_even_where_nothing_can_be_resolved(guest, monkeypatch, servers, words):
    resolving(monkeypatch)
    with pytest.raises(GaveUp, match=words):
        names.CHECK.run(guest(servers, metadata=METADATA))


def test_a_host_that_resolves_nothing_can_prove_nothing(guest, monkeypatch):
    resolving(monkeypatch)
    reason = r"this host itself resolves no cloud.example.org or mirror.example.net; given is 10.0.2.3"
    with pytest.raises(Inapplicable, match=reason):
        names.CHECK.run(guest(PLAIN, metadata=METADATA))


def test_a_name_that_only_the_host_resolves_fails(guest, monkeypatch):
    resolving(monkeypatch, "cloud.example.org")
    with pytest.raises(GaveUp, match=r"getent finds no address of cloud.example.org.*it says nothing"):
        names.CHECK.run(guest(PLAIN, "with=getent\nstatus=2\nsaid=\n", metadata=METADATA))
    with pytest.raises(GaveUp, match="tells no status"):
        names.CHECK.run(guest(PLAIN, "with=getent\n", metadata=METADATA))
    with pytest.raises(Inapplicable, match="none of getent"):
        names.CHECK.run(guest(PLAIN, "status=0\nsaid=\n", metadata=METADATA))


@pytest.mark.parametrize(
    "url",
    ["", "https://localhost/x", "https://127.0.0.1/x", "https://[::1]/", "https://[broken", "https://example.org;reboot/",
     "https://$(reboot).example.org/", "file:///srv/disk.qcow2"],
)  # fmt: skip
def test_only_public_names_are_asked_for(url):
    assert names.candidates({**METADATA, "documentation": url}) == ("mirror.example.net",)


def test_what_the_host_resolves():
    assert names.resolves("localhost")
    assert not names.resolves("kmi.invalid")
