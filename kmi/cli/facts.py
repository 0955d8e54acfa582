"""What the catalogue says of one release, as text for people; pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import date

from kmi.catalogue.chart import Row
from kmi.host.ui import amount
from kmi.model.spec import ImageSpec

_INDENT = 17


def facts(row: Row, today: date, width: int | None = None) -> str:
    """A line for each fact, what does not apply left out; where architectures differ, a line for each answer. Longer
    than ``width`` columns is only what has no space in it."""
    first = row.first
    name = f" ({first.codename})" if first.codename else ""
    found = [(image, _facts(image, row.past(today))) for image in row.images]
    lines = [f"{first.id.distro} {first.id.release}: {first.title}{name}{', the default release' * first.default}"]
    lines += _told("architectures", " ".join(image.id.arch for image in row.images), width)
    for fact in found[0][1]:
        answers: dict[str, list[str]] = {}
        for image, values in found:
            answers.setdefault(values[fact], []).append(image.id.arch)
        label = fact
        for answer, arches in answers.items():
            text = answer if len(answers) == 1 else f"{' '.join(arches)}: {answer or 'none'}"
            lines += _told(label, text, width)
            label = ""
    return "\n".join(lines)


def _told(fact: str, text: str, width: int | None) -> Iterator[str]:
    """The fact in as many lines as it needs; nothing if there is none."""
    room = max(width - _INDENT, 40) if width else len(text) + 1
    for number, line in enumerate(textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)):
        yield f"  {fact if number == 0 else '':<{_INDENT - 2}}{line}"


def _facts(spec: ImageSpec, past: bool) -> dict[str, str]:
    """Every image has the same facts; an empty one does not apply."""
    image = spec.cloud_image
    return {
        "tier": spec.tier + (f" ({spec.reason})" if spec.reason else ""),
        "end of life": _end(spec, past),
        "download": image.url if image else "",
        "build found in": image.build.url or "the checksums" if image and image.build else "",
        "checksums": image.checksums if image else "",
        "digest": image.algorithm if image else "",
        "trust": _trust(spec),
        "format": f"{image.format}{_packed(spec)}" if image else "",
        "bootstrap": f"{spec.archive.suite}, keyring {spec.archive.keyring}" if spec.archive else "",
        "own disk": f"{spec.own_disk.where} ({spec.own_disk.format})" if spec.own_disk else "",
        "customised": f"no: {spec.untouched}" if spec.recipe is None else "yes",
        "packages": " ".join(spec.recipe.packages) if spec.recipe else "",
        "agent": spec.agent,
        "user": spec.user,
        "init": spec.init,
        "firmware": " ".join(spec.firmware),
        "machine": f"{spec.instancetype}, preference {spec.preference}, root disk of {amount(spec.virtual_size)}",
        "licence": f"{spec.licence.name} ({spec.licence.url})",
        "redistribution": f"restricted: {spec.redistribution}" if spec.redistribution else "",
        "waivers": "; ".join(f"{w.criterion} until {w.until}: {w.reason}" for w in spec.waivers),
        "documentation": spec.documentation,
        "manifest": spec.where,
    }


def _end(spec: ImageSpec, past: bool) -> str:
    if spec.end_of_life is None:
        return ""
    instead = f"; use {spec.id.distro}:{spec.successor}" if spec.successor else ""
    return f"{spec.end_of_life}{f', past: not built any more{instead}' if past else ''}"


def _trust(spec: ImageSpec) -> str:
    if spec.cloud_image is None:
        return ""
    trust = spec.cloud_image.trust
    pinned = " or ".join(trust.fingerprints) or trust.key or ""
    return f"{trust.kind} {pinned}".rstrip() + (f", over the {trust.over}" if pinned else "")


def _packed(spec: ImageSpec) -> str:
    packing = spec.cloud_image.packing if spec.cloud_image else None
    if packing is None or packing.plain:
        return ""
    return f" in {' '.join(filter(None, (packing.archive, packing.compression.replace('none', ''))))}"
