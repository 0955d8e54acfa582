"""``kmi inspect``: what an image says about itself, and whether it holds to the containerDisk contract."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmi.cli.context import Context
from kmi.errors import VerificationError
from kmi.host.ui import amount, plain
from kmi.model.digest import Digest
from kmi.model.metadata import of_labels
from kmi.oci import registry
from kmi.oci.contract import Finding, Severity, lint
from kmi.oci.layout import Descriptor, Layout, load, manifests
from kmi.oci.reference import Reference, layout_path, parse
from kmi.publish import embedded

_MARKS = {Severity.OK: "ok", Severity.WARNING: "warning", Severity.VIOLATION: "VIOLATION"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """One architecture's image as it was found."""

    architecture: str
    digest: Digest
    layers: tuple[Descriptor, ...]
    metadata: dict[str, str]
    findings: tuple[Finding, ...]


def add(subparsers: Any, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "inspect", parents=[shared], help="show an image's metadata, and check it against the containerDisk contract"
    )
    parser.add_argument("image", metavar="REF|LAYOUT", help="image reference, folder of an OCI layout, or oci:FOLDER")
    parser.add_argument("--lint", action="store_true", help="check every rule of the contract (reads the whole image)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit status 4 (VerificationError) if a rule is violated, after everything was printed."""
    with ExitStack() as stack:
        root, read, layout = _open(args, context, stack)
        views = tuple(_view(child, read, layout if args.lint else None) for child in _children(root, read))
    if args.json:
        context.say_json({"digest": str(root), "images": [_json(view) for view in views]})
    else:
        context.say("\n\n".join([f"digest  {root}", *(plain(_text(view)) for view in views)]))
    broken = [f"{v.architecture}: {f.rule.id}" for v in views for f in v.findings if f.outcome is Severity.VIOLATION]
    if broken:
        raise VerificationError("the image breaks the containerDisk contract", got=", ".join(broken), where=args.image)
    return 0


_Read = Callable[[Digest], bytes]


def _open(args: argparse.Namespace, context: Context, stack: ExitStack) -> tuple[Digest, _Read, Layout | None]:
    """The digest to look at, how to read a manifest or config, and the layout if the whole image is at hand."""
    folder = layout_path(args.image)
    if folder is not None:
        layout = Layout.open(folder)
        roots = layout.roots()
        if len(roots) != 1:
            raise VerificationError("the layout does not hold one image or index", got=len(roots), where=folder)
        return roots[0].digest, layout.read, layout
    reference = parse(args.image)
    stack.enter_context(embedded.serving(reference.host, context.settings, create=False))
    digest = reference.digest or registry.resolve(reference)
    if not args.lint:
        return digest, _remote(reference), None
    step = stack.enter_context(context.ui.step(reference.path, "pull"))
    scratch: Path = stack.enter_context(context.store.scratch())
    layout = registry.pull(reference.pinned(digest), scratch / "oci")
    step.done(str(digest))
    return digest, layout.read, layout


def _remote(reference: Reference) -> _Read:
    """Read from a registry. A config is asked for by the manifest that names it, so manifests are remembered."""
    configs: dict[Digest, Digest] = {}

    def read(digest: Digest) -> bytes:
        if digest in configs:
            return registry.config(reference.pinned(configs[digest]))
        raw = registry.raw_manifest(reference.pinned(digest))
        if "config" in (value := load(raw)):
            configs[Descriptor.of_json(value["config"]).digest] = digest
        return raw

    return read


def _children(root: Digest, read: _Read) -> tuple[Descriptor, ...]:
    """The index's images (not the attestations that some builders list beside them), or the one image."""
    raw = read(root)
    value = load(raw)
    if "manifests" not in value:
        return (Descriptor(media_type=str(value.get("mediaType", "")), digest=root, size=len(raw)),)
    return tuple(child for child in manifests(value) if child.architecture != "unknown")


def _view(child: Descriptor, read: _Read, layout: Layout | None) -> _View:
    manifest = load(read(child.digest))
    config = load(read(Descriptor.of_json(manifest.get("config")).digest))
    labels = (config.get("config") or {}).get("Labels") or {}
    listed = child if child.architecture else None
    return _View(
        architecture=str(config.get("architecture", "")),
        digest=child.digest,
        layers=tuple(Descriptor.of_json(layer) for layer in manifest.get("layers") or ()),
        metadata={name: value for name, value in of_labels(labels).items() if value},
        findings=lint(layout.root, child.digest, listed) if layout else (),
    )


def _text(view: _View) -> str:
    width = max((len(name) for name in view.metadata), default=0)
    rows = [f"{view.architecture}  {view.digest}"]
    rows += [f"  {name:<{width}}  {value}" for name, value in view.metadata.items()]
    rows += [f"  layer {layer.digest}  {amount(layer.size)}" for layer in view.layers]
    rows += [f"  {_MARKS[f.outcome]:<9}  {f.rule.id:<14}  {f.detail}  [{f.rule.source}]" for f in view.findings]
    return "\n".join(rows)


def _json(view: _View) -> dict[str, Any]:
    return {
        "architecture": view.architecture,
        "digest": str(view.digest),
        "size": sum(layer.size for layer in view.layers),
        "layers": [layer.to_json() for layer in view.layers],
        "metadata": view.metadata,
        "lint": [
            {"rule": f.rule.id, "outcome": f.outcome.value, "detail": f.detail, "source": f.rule.source}
            for f in view.findings
        ],
    }
