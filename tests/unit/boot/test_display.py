"""Pictures of the display. QEMU's answers are simulated: before 7.1 ``screendump`` knows no format (qapi/ui.json)."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmi.boot import display
from kmi.errors import BuildError
from tests.machines import scanlines

PPM = b"P6\n2 3\n255\n" + bytes(range(18))


class Old:
    """Simulated: a QEMU whose display has this picture; ``refusal`` is its word on a format that it does not know."""

    def __init__(self, picture: bytes, refusal: str = "Parameter 'format' is unexpected") -> None:
        self.picture, self.refusal = picture, refusal

    def call(self, command: str, **arguments: str) -> dict:
        assert command == "screendump"
        if "format" in arguments and self.refusal:
            raise BuildError("QEMU refused screendump", got=self.refusal)
        Path(arguments["filename"]).write_bytes(self.picture)
        return {}


def test_an_older_qemus_picture_becomes_the_same_png(tmp_path):
    display.screenshot(Old(PPM), tmp_path / "screen.png")
    assert scanlines(tmp_path / "screen.png") == (2, 3, [bytes(range(at, at + 6)) for at in (0, 6, 12)])
    assert [path.name for path in tmp_path.iterdir()] == ["screen.png"]


def test_another_refusal_is_not_asked_again(tmp_path):
    with pytest.raises(BuildError) as caught:
        display.screenshot(Old(PPM, refusal="no display"), tmp_path / "screen.png")
    assert caught.value.got == "no display"


@pytest.mark.parametrize(
    "ppm",
    [
        b"",
        b"P5\n2 3\n255\n" + bytes(18),
        PPM[:-1],
        PPM + b"x",
        b"P6\n0 3\n255\n",
        b"P6\n99999 99999\n255\n",
        b"P6\n999999 1\n255\n",
    ],
)
def test_what_is_no_picture_is_refused_and_leaves_nothing(tmp_path, ppm):
    with pytest.raises(BuildError, match="no PPM"):
        display.screenshot(Old(ppm), tmp_path / "screen.png")
    assert not list(tmp_path.iterdir())


def test_a_picture_that_is_too_large_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(display, "LIMIT", 1000)
    with pytest.raises(BuildError, match="too large"):
        display.screenshot(Old(bytes(1001), refusal=""), tmp_path / "screen.png")
    with pytest.raises(BuildError, match="no PPM"):
        display.screenshot(Old(b"P6\n20 20\n255\n" + bytes(1200)), tmp_path / "screen.png")
    assert not list(tmp_path.iterdir())


def test_the_png_is_compressed():
    assert len(display.png(b"P6\n720 400\n255\n" + bytes(720 * 400 * 3))) < 10_000
