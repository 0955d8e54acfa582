"""The cosign program: signatures of images by key, without transparency log and without any network but the registry.

cosign 3 stores a signature as a Sigstore bundle that refers to the image (image-spec, "subject"). Its statement has
the predicate type ``SIGNATURE`` and no name of the image in it, only the digest; kmi therefore writes into the signed
annotations for which repository and which tags the signature is meant.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kmi.errors import BuildError, NetworkError, UsageError, VerificationError
from kmi.host import capability
from kmi.host import run as host
from kmi.model.digest import Digest
from kmi.model.metadata import PREFIX
from kmi.oci import registry
from kmi.oci.reference import Reference

SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
"""The predicate type of a signature. ``cosign verify`` is content with any other attestation too; kmi is not."""

REPOSITORY = PREFIX + "repository"
TAGS = PREFIX + "tags"
_SIGNING_CONFIG = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {},
    "tsaConfig": {},
}
_TRUSTED_ROOT = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}
_NO_SIGNATURE = 10
"""cosign's exit status where nothing refers to the image (cosign, cmd/cosign/errors/exit_codes.go)."""
_REGISTRY = re.compile(
    r"""\b(?:GET|HEAD|Get|Head)\ "?https?://      # go-containerregistry and net/http begin so, whatever went wrong
    |dial\ tcp|timeout|\btls:\ |\bx509:\ |unexpected\ status\ code|\b(?:UNAUTHORIZED|DENIED|TOOMANYREQUESTS):\ """,
    re.VERBOSE,
)
"""How cosign speaks of a registry that fails it: no word on any signature."""
_TIMEOUT = 300.0
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature that the key made: what it is of, and the repository and tags that it was made for."""

    digest: Digest
    repository: str
    tags: tuple[str, ...]


def generate(folder: Path, password: str, log: Path | None = None) -> tuple[Path, Path]:
    """Make a key pair in an empty ``folder``: the private key (encrypted with ``password``) and the public one."""
    with environment(password) as env:
        argv: list[str | Path] = ["cosign", "generate-key-pair", "--output-key-prefix", folder / "cosign"]
        host.run(argv, env=env, cwd=folder, log=log, timeout=_TIMEOUT, secrets=[password])
    return folder / "cosign.key", folder / "cosign.pub"


def public_key(private: Path, password: str) -> str:
    """The public half of a private key, in PEM. BuildError if the password is wrong."""
    with environment(password) as env:
        argv: list[str | Path] = ["cosign", "public-key", "--key", private]
        return host.run(argv, env=env, timeout=_TIMEOUT, secrets=[password]).stdout


def sign(reference: Reference, private: Path, password: str, tags: tuple[str, ...], log: Path | None = None) -> None:
    """Sign the image at a digest for its repository and ``tags``. BuildError if cosign fails, NetworkError if that is
    because the registry does not answer, HostError if cosign is too old.

    Calls for one digest must be serialised: a registry without the referrers API keeps the list in a tag that
    cosign reads, changes and writes back.
    """
    capability.cosign()
    with environment(password) as env:
        folder = Path(env["HOME"])
        config, root = folder / "signing-config.json", folder / "trusted-root.json"
        config.write_text(json.dumps(_SIGNING_CONFIG), encoding="ascii")
        root.write_text(json.dumps(_TRUSTED_ROOT), encoding="ascii")
        argv: list[str | Path] = [
            "cosign",
            "sign",
            "--yes",
            "--key",
            private,
            "--signing-config",
            config,
            "--trusted-root",
            root,
        ]
        for name, value in claims(reference.name, tags).items():
            argv += ["-a", f"{name}={value}"]
        try:
            host.run([*argv, str(reference)], env=env, log=log, timeout=_TIMEOUT, secrets=[password])
        except BuildError:
            registry.raw_manifest(reference)
            raise


def claims(repository: str, tags: tuple[str, ...]) -> dict[str, str]:
    """What kmi has signed beside the digest. Tags are separated by blanks: cosign's ``-a`` splits at commas."""
    return {REPOSITORY: repository, TAGS: " ".join(tags)}


def signatures(reference: Reference, key: Path, log: Path | None = None) -> tuple[Signature, ...]:
    """Every signature of the image at a digest that verifies with the public ``key``; none is an empty tuple.

    Attestations of other types by the same key are left out, and so is what does not name the digest. UsageError if
    the key file is none, HostError if cosign is too old, NetworkError if the registry fails, VerificationError if
    cosign refuses what it finds or its answer is not understood.
    """
    fingerprint(key)
    capability.cosign()
    argv: list[str | Path] = [
        "cosign",
        "verify",
        "--key",
        key.absolute(),
        "--insecure-ignore-tlog=true",
        str(reference),
    ]
    with environment() as env:
        result = host.run(argv, env=env, log=log, timeout=_TIMEOUT, ok=(0, 1, _NO_SIGNATURE, 11, 12, 13))
    if result.status == 0:
        return _parse(result.stdout, reference)
    if result.status == _NO_SIGNATURE or "no matching" in result.stderr or "no signatures found" in result.stderr:
        _readable(reference)
        return ()
    said = (result.stderr.strip().splitlines() or ["nothing"])[-1].removeprefix("error during command execution: ")
    if _REGISTRY.search(said):
        raise NetworkError(
            "cosign cannot read the signatures",
            got=said,
            where=reference,
            hint=f"check the network and the login (`cosign login {reference.host}`)",
            log=log,
        )
    registry.raw_manifest(reference)
    raise VerificationError("cosign does not accept the signatures", got=said, where=reference, log=log)


def _readable(reference: Reference) -> None:
    """NetworkError if the registry keeps the image or its list of signatures from us: cosign then says that there are
    none. The list's tag is the one of registries without the referrers API (distribution-spec, "Referrers Tag Schema").
    """
    registry.raw_manifest(reference)
    if reference.digest:
        registry.exists(reference.tagged(f"{reference.digest.algorithm}-{reference.digest.hex}"))


def fingerprint(key: Path) -> Digest:
    """The SHA-256 of a public key (of its SubjectPublicKeyInfo in DER), by which people compare keys. UsageError if
    there is no public key in PEM at ``key``."""
    try:
        text = key.read_text(encoding="ascii")
        body = text.split(_BEGIN, 1)[1].split(_END, 1)[0]
        return Digest(algorithm="sha256", hex=hashlib.sha256(base64.b64decode(body)).hexdigest())
    except OSError as error:
        raise UsageError("cannot read the public key", got=error.strerror or error, where=key) from error
    except (IndexError, ValueError) as error:
        raise UsageError(
            "not a public key", expected=_BEGIN, where=key, hint="the public half is the file that ends in .pub"
        ) from error


def _parse(stdout: str, reference: Reference) -> tuple[Signature, ...]:
    try:
        entries = json.loads(stdout)
        found = [_signature(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise VerificationError(
            "cosign's answer is not understood", expected="a JSON list of claims", got=repr(error), where=reference
        ) from error
    return tuple(one for one in found if one is not None and one.digest == reference.digest)


def _signature(entry: Mapping[str, Mapping[str, object]]) -> Signature | None:
    critical, optional = entry["critical"], entry.get("optional") or {}
    image = critical["image"]
    if critical["type"] != SIGNATURE or not isinstance(image, dict):
        return None
    return Signature(
        digest=Digest.parse(str(image["docker-manifest-digest"])),
        repository=str(optional.get(REPOSITORY, "")),
        tags=tuple(str(optional.get(TAGS, "")).split()),
    )


@contextmanager
def environment(password: str = "") -> Iterator[dict[str, str]]:
    """What cosign sees: a private empty home, so that no file of the user steers it, but the registry credentials."""
    docker = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    with tempfile.TemporaryDirectory(prefix="kmi-cosign-") as folder:
        yield {"HOME": folder, "XDG_CACHE_HOME": folder, "DOCKER_CONFIG": docker, "COSIGN_PASSWORD": password}
