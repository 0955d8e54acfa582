"""Signing without a key: cosign trades the identity token of a GitHub Actions job for a certificate that is good for
minutes (Fulcio) and enters the signature in a public log (Rekor). What proves such a signature is not a key but the
certificate's subject, the workflow, and the issuer of the token.

It needs those services and a job with ``id-token: write``, so it has run in no test: tests cover what cosign is told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from kmi.errors import UsageError

ISSUER = "https://token.actions.githubusercontent.com"
PROVIDER = "github-actions"
REQUEST = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
"""Where a job with ``id-token: write`` gets its token; cosign reads them itself (cosign, pkg/providers/github)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signed, as the certificate says: ``subject`` is the workflow's URL with its ref (fulcio, docs/oidc.md)."""

    subject: str
    issuer: str = ISSUER

    def __str__(self) -> str:
        return self.subject


def identity(environ: Mapping[str, str] = os.environ) -> Identity:
    """This job's own. UsageError anywhere but in a GitHub Actions job that may have an identity token.

    A job of a reusable workflow is certified as the *called* workflow, which ``GITHUB_WORKFLOW_REF`` does not name;
    verification then fails, and nothing is tagged.
    """
    workflow = environ.get("GITHUB_WORKFLOW_REF")
    if not workflow or not all(environ.get(name) for name in REQUEST):
        raise UsageError(
            "there is no identity to sign with",
            expected="a GitHub Actions job with `permissions: id-token: write`",
            hint="sign with a key: --key FILE",
        )
    return Identity(subject=f"{environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{workflow}")
