"""The cosign program: signatures of images by key, without transparency log and without any network but the registry,
or keyless (``kmi.publish.keyless``), with both. ``write`` and ``found`` serve attestations too (``attest``).

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kmi.errors import BuildError, UsageError, VerificationError
from kmi.host import capability, memory
from kmi.host import run as host
from kmi.host.run import Result
from kmi.model.digest import Digest
from kmi.model.metadata import PREFIX
from kmi.oci import logins, registry
from kmi.oci.attempts import failure, patiently, silence
from kmi.oci.logins import Login
from kmi.oci.reference import Reference
from kmi.publish import keyless
from kmi.publish.keyless import Identity

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
_NONE = re.compile(r"no matching|no signatures found|none of the attestations matched the predicate type")
_REGISTRY = re.compile(
    r"""\b(?i:GET|HEAD|POST|PUT|PATCH)\ "?https?://   # go-containerregistry and net/http begin so, whatever went wrong
    |dial\ tcp|timeout|deadline\ exceeded|ran\ out\ of\ time
    |does\ not\ match\ requested\ digest
    |\btls:\ |\bx509:\ |unexpected\ status\ code|\b(?:UNAUTHORIZED|DENIED|TOOMANYREQUESTS):\ """,
    re.VERBOSE,
)
"""How cosign speaks of a registry that fails it: no word on any signature."""
_TIMEOUT = 300.0
_GRACE = 30.0
"""Seconds that cosign, whose own limit is told to it, gets to say which request ran into that."""
_ANY = tuple(range(256))
_NOWHERE = "/dev/null/kmi"
"""A folder that is not there and that nobody can make."""
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
    """Sign the image at a digest for its repository and ``tags``. Raises what ``write`` does."""
    write("sign", _annotations(reference, tags), reference, "signature", log, private=private, password=password)


def sign_keyless(reference: Reference, tags: tuple[str, ...], log: Path | None = None) -> None:
    """``sign`` with the identity of this GitHub Actions job (``keyless.identity``) in place of a key."""
    write("sign", _annotations(reference, tags), reference, "signature", log)


def _annotations(reference: Reference, tags: tuple[str, ...]) -> list[str]:
    return [word for name, value in claims(reference.name, tags).items() for word in ("-a", f"{name}={value}")]


def write(
    verb: str,
    words: Sequence[str | Path],
    reference: Reference,
    noun: str,
    log: Path | None,
    *,
    private: Path | None = None,
    password: str = "",
) -> None:
    """Have cosign put what ``verb`` makes, a ``noun``, beside the image at a digest: with a private key, or without one
    as this job. BuildError if cosign fails, RegistryError if that is because of the registry, or of Fulcio, Rekor or
    the trust root's server (what was to be put may be there all the same), HostError if cosign is too old.

    Calls for one digest must be serialised: a registry without the referrers API keeps the list in a tag that
    cosign reads, changes and writes back.
    """
    capability.cosign()
    argv: list[str | Path] = [verb, "--yes"]
    service = "" if private else ", or a service of Sigstore,"
    with ExitStack() as stack:
        if private:
            config = stack.enter_context(memory.file(json.dumps(_SIGNING_CONFIG).encode()))
            root = stack.enter_context(memory.file(json.dumps(_TRUSTED_ROOT).encode()))
            argv += ["--key", private.absolute(), "--signing-config", config, "--trusted-root", root]
        else:
            argv += ["--oidc-provider", keyless.PROVIDER]
        what = f"{reference.host}{service} did not take the {noun}"
        result = _cosign([*argv, *words], reference, what, log, password, keyless_home=private is None)
    if result.status:
        registry.raw_manifest(reference)
        raise BuildError(f"cosign cannot {verb}", got=_said(result), where=reference, log=log)


def claims(repository: str, tags: tuple[str, ...]) -> dict[str, str]:
    """What kmi has signed beside the digest. Tags are separated by blanks: cosign's ``-a`` splits at commas."""
    return {REPOSITORY: repository, TAGS: " ".join(tags)}


def signatures(reference: Reference, key: Path | Identity, log: Path | None = None) -> tuple[Signature, ...]:
    """Every signature of the image at a digest that verifies with the public ``key``, or that was made keyless by an
    identity; none is an empty tuple.

    Attestations of other types by the same key are left out, and so is what does not name the digest. UsageError if
    the key file is none, HostError if cosign is too old, NetworkError if the registry fails, VerificationError if
    cosign refuses what it finds or its answer is not understood.
    """
    answer = found(["verify"], reference, key, "signatures", log)
    return () if answer is None else _parse(answer, reference)


def found(
    words: Sequence[str | Path], reference: Reference, key: Path | Identity, nouns: str, log: Path | None
) -> str | None:
    """What cosign prints of that which verifies with the key or identity; None if there is nothing. Raises what
    ``signatures`` does."""
    argv = list(words)
    if isinstance(key, Identity):
        argv += ["--certificate-identity", key.subject, "--certificate-oidc-issuer", key.issuer]
    else:
        fingerprint(key)
        argv += ["--key", key.absolute(), "--insecure-ignore-tlog=true"]
    capability.cosign()
    what = f"cosign cannot read the {nouns}"
    result = patiently(lambda: _cosign(argv, reference, what, log, keyless_home=isinstance(key, Identity)))
    if result.status == 0:
        return result.stdout
    if result.status == _NO_SIGNATURE or _NONE.search(result.stderr):
        _readable(reference)
        return None
    registry.raw_manifest(reference)
    raise VerificationError(f"cosign does not accept the {nouns}", got=_said(result), where=reference, log=log)


def _cosign(
    argv: Sequence[str | Path],
    reference: Reference,
    what: str,
    log: Path | None,
    password: str = "",
    *,
    keyless_home: bool = False,
) -> Result:
    """Run cosign on a reference, whatever it finds. RegistryError with ``what`` if the registry fails it."""
    login = logins.find(reference)
    limit = silence(writing=True)
    with environment(password, login, reference.host, keyless_home=keyless_home) as env:
        words = ["cosign", f"--timeout={limit:g}s", *argv, str(reference)]
        try:
            result = host.run(words, env=env, log=log, timeout=limit + _GRACE, ok=_ANY, secrets=[password])
        except BuildError as error:
            raise failure(reference, error.what, what=what, login=login, log=log) from error
    said = _said(result)
    if result.status and result.status != _NO_SIGNATURE and _REGISTRY.search(said):
        head = f"HEAD /v2/{reference.path}/manifests/{reference.digest}"  # what compares a header with the digest
        nameless = "requested digest" in said or ("deadline exceeded" in said and "://" not in said)
        asked = [head] if nameless else []
        raise failure(reference, said, what=what, login=login, asked=asked, log=log)
    return result


def _said(result: Result) -> str:
    """cosign's last words."""
    last = (result.stderr.strip().splitlines() or [f"exit status {result.status}"])[-1]
    return last.removeprefix("error during command execution: ").removeprefix("Error: ")


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
def environment(
    password: str = "", login: Login | None = None, host: str = "", *, keyless_home: bool = False
) -> Iterator[dict[str, str]]:
    """What cosign sees: no home, so that no file of the user steers it and it leaves none, and the one login. Keyless
    it gets an empty home for the time, where it keeps Sigstore's trust root, and the way to the job's token."""
    with ExitStack() as stack:
        home, request = _NOWHERE, {}
        if keyless_home:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="kmi-cosign-"))
            request = {name: os.environ[name] for name in keyless.REQUEST if name in os.environ}
        file = stack.enter_context(logins.lent(login, host)) if login else None
        yield {
            **request,
            "HOME": home,
            "XDG_CACHE_HOME": home,
            "DOCKER_CONFIG": _NOWHERE,
            "REGISTRY_AUTH_FILE": str(file or _NOWHERE),
            "COSIGN_PASSWORD": password,
        }
