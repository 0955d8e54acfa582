"""``kmi verify``: prove a published image with nothing but its reference and the public key, or the signer's name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kmi.host.ui import plain
from kmi.oci import reference as references
from kmi.publish import attest, embedded
from kmi.publish.attest import TestResult
from kmi.publish.keyless import ISSUER, Identity
from kmi.publish.verify import Verified, verify

if TYPE_CHECKING:
    from kmi.cli.context import Context


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "verify",
        parents=[shared],
        help="verify a published image's signatures",
        description="Verify that the index and every image in it are signed by the key, or keyless by the identity, "
        "for this repository, and a tag for this tag; tell how the signer tested it. Prints the reference by digest.",
    )
    parser.add_argument("reference", metavar="REF", help="host[:port]/path:tag, …@sha256:hex, or both")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--key", dest="public_key", type=Path, metavar="FILE", help="the public key")
    who.add_argument("--identity", metavar="URL", help="the workflow that signed keyless, with its ref")
    parser.add_argument("--issuer", default=ISSUER, metavar="URL", help="who vouches for it (default: GitHub Actions)")
    parser.add_argument("--signed-for", metavar="REPOSITORY", help="the original repository, where REF is a mirror")
    parser.add_argument("--json", action="store_true", help="tell everything on stdout, as JSON")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    reference = references.parse(args.reference)
    with embedded.serving(reference.host, context.settings, create=False, note=context.ui.line):
        verified = verify(reference, _signer(args), signed_for=args.signed_for)
    for line in _told(verified, _signer(args)):
        context.ui.line(line)
    if args.json:
        context.say_json(_json(verified))
    else:
        context.say(verified.reference)
    return 0


def _signer(args: argparse.Namespace) -> Path | Identity:
    return Identity(subject=args.identity, issuer=args.issuer) if args.identity else Path(args.public_key)


def _told(verified: Verified, signer: Path | Identity) -> list[str]:
    """What was checked, for people."""
    what = "index" if verified.children else "image"
    return [
        f"verified: {verified.repository}",
        f"  {what:<10}{verified.digest}  signed",
        *(f"  {arch:<10}{digest}  signed" for arch, digest in verified.children),
        f"  {'tags':<10}{' '.join(verified.tags) or 'none'}",
        *([f"  {'made for':<10}{verified.signed_for}"] if verified.signed_for != verified.repository else []),
        f"  {'identity':<10}{signer} ({signer.issuer})"
        if isinstance(signer, Identity)
        else f"  {'key':<10}{verified.key} ({signer})",
        *(line for arch, results in verified.results for line in _tested(arch, results)),
    ]


def _tested(arch: str, results: tuple[TestResult, ...]) -> list[str]:
    """What is attested of one image's tests: the worst of what there is, and the tests that it names."""
    worst = attest.worst(results)
    if worst is None:
        return [f"  test-result  {arch}  none"]
    named = [*(("failed", name) for name in worst.failed), *(("warned", name) for name in worst.warned)]
    return [f"  test-result  {arch}  {worst.result}", *(f"    {word}  {plain(name)}" for word, name in named)]


def _json(verified: Verified) -> dict[str, object]:
    return {
        "reference": verified.reference,
        "digest": str(verified.digest),
        "images": [{"architecture": arch, "digest": str(digest)} for arch, digest in verified.children],
        "tags": list(verified.tags),
        "key": str(verified.key),
        "signed_for": verified.signed_for,
        "test_results": {
            arch: {
                "result": str(worst.result) if (worst := attest.worst(results)) else "none",
                "predicates": [one.predicate for one in results],
            }
            for arch, results in verified.results
        },
    }
