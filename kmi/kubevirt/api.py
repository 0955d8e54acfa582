"""The few calls to a cluster's API that a boot test needs, all of them in one namespace.

Kubernetes: API conventions (``Status``, label selectors); KubeVirt: ``pkg/virt-api/api.go`` for the subresources.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from kmi.errors import Interrupted, NetworkError, UsageError
from kmi.host import memory, redact, websockets
from kmi.host.failures import Transient
from kmi.host.patience import Patience
from kmi.host.run import stopping
from kmi.host.tls import Tls
from kmi.host.ui import plain
from kmi.host.websockets import Stream
from kmi.host.wire import Wire
from kmi.kubevirt.credentials import Credential
from kmi.kubevirt.kubeconfig import Cluster

LIMIT = 16 << 20
"""Bytes of an answer."""
PROTOCOL = "plain.kubevirt.io"
"""KubeVirt: pkg/virt-api/rest/websocket.go and client-go's kubecli; bytes as they are, in binary messages."""
SECONDS = 60.0
_PASSING = frozenset({408, 425, 429})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.3, 5.0
_RIGHTS = "the rights that kmi needs are listed in docs/testing.md"

Object = dict[str, Any]


class ApiError(NetworkError):
    """The cluster refused. ``status`` is HTTP's, the message its own (a Kubernetes ``Status``)."""

    def __init__(self, what: str, *, status: int, got: str, where: str, hint: str | None = None) -> None:
        super().__init__(what, got=f"status {status}: {got}" if got else f"status {status}", where=where, hint=hint)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may be taken a moment later."""
        return self.status in _PASSING or self.status >= 500


class Api:
    """A connection as one user. Not shared between threads, but for ``stream``. Made by ``connected``."""

    def __init__(self, cluster: Cluster, tls: Tls, credential: Credential, patience: Patience) -> None:
        self.namespace = cluster.namespace
        self._cluster = cluster
        self._tls = tls
        self._credential = credential
        self._lock = threading.Lock()
        self._wire = Wire(patience, tls)

    def close(self) -> None:
        self._wire.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        sent: Object | None = None,
        seconds: float = SECONDS,
        once: bool = False,
        stoppable: bool = True,
    ) -> bytes:
        """The body of a good answer, within ``seconds``. What may pass is tried again, unless ``once``. ApiError for
        a refusal, NetworkError if nothing is heard, Interrupted."""
        url = self._cluster.server + path + (f"?{urlencode(query)}" if query else "")
        body = json.dumps(sent).encode() if sent is not None else None
        self._wire.allow(seconds)
        pause, renewed = _FIRST_PAUSE, False
        while True:
            if stoppable and stopping():
                raise Interrupted("stopped")
            failure: NetworkError
            try:
                return self._once(method, url, body)
            except Transient as error:
                failure = error.error
            except ApiError as error:
                if error.status == 401 and not renewed:
                    renewed = True
                    self._renew()
                    continue
                if not error.passing:
                    raise
                failure = error
            if once or pause >= self._wire.left:
                raise failure
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def json(self, method: str, path: str, **options: Any) -> Object:
        """The object in the answer. NetworkError if it holds none."""
        body = self.call(method, path, **options)
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            found = error
        if not isinstance(found, dict):
            raise NetworkError("the cluster's answer is no object of JSON", got=repr(body[:60]), where=path)
        return found

    def stream(self, path: str) -> Stream:
        """A subresource's stream of bytes. NetworkError."""
        scheme, _, rest = self._cluster.server.partition("://")
        url = ("wss://" if scheme == "https" else "ws://") + rest + path
        return websockets.connect(url, headers=self._login(), protocols=[PROTOCOL], tls=self._tls)

    def _once(self, method: str, url: str, sent: bytes | None) -> bytes:
        asked = {"Accept": "application/json, */*", **self._login()}
        if sent is not None:
            asked["Content-Type"] = "application/json"
        body = bytearray()
        try:
            with self._wire.exchange(method, url, asked, sent) as answer:
                for chunk in answer.body():
                    body += chunk
                    if len(body) > LIMIT:
                        break
        except Transient as error:
            raise Transient(_unheard(error.error, self._cluster)) from error
        except NetworkError as error:
            raise _unheard(error, self._cluster) from error
        if len(body) > LIMIT:
            raise NetworkError("the cluster's answer is too large", expected=f"at most {LIMIT} bytes", where=url)
        if 200 <= answer.status < 300:
            return bytes(body)
        hint = {401: f"{self._cluster.where} holds the login", 403: _RIGHTS}.get(answer.status)
        what = "the cluster does not know this login" if answer.status == 401 else "the cluster refuses"
        raise ApiError(f"{what}: {method}", status=answer.status, got=_message(bytes(body)), where=url, hint=hint)

    def _login(self) -> dict[str, str]:
        with self._lock:
            expires = self._credential.expires
            if expires and expires <= datetime.now(UTC):
                self._credential = self._cluster.credentials()
            token = self._credential.token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _renew(self) -> None:
        with self._lock:
            self._credential = self._cluster.credentials()


@contextmanager
def connected(cluster: Cluster, *, patience: Patience | None = None) -> Iterator[Api]:
    """Certificates and keys lie in memory only. UsageError for some that are malformed."""
    credential = cluster.credentials()
    with ExitStack() as stack:
        certificate, authority = credential.certificate, cluster.authority
        lent = [stack.enter_context(memory.file(data)) for data in certificate or ()]
        tls = Tls(
            authority=stack.enter_context(memory.file(authority)) if authority else None,
            verify=cluster.verify,
            certificate=(lent[0], lent[1]) if lent else None,
        )
        try:
            tls.context()
        except (ssl.SSLError, OSError) as error:
            what = "a certificate or key of the kubeconfig cannot be used"
            raise UsageError(what, got=getattr(error, "reason", None) or error, where=cluster.where) from error
        api = Api(cluster, tls, credential, patience or Patience())
        try:
            yield api
        finally:
            api.close()


def path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _unheard(error: NetworkError, cluster: Cluster) -> NetworkError:
    """The same in the words of this room: what ``kmi.host`` advises concerns downloads."""
    expected = error.expected
    hint = f"the cluster is that of context {cluster.name} in {cluster.where}"
    return NetworkError("the cluster does not answer", expected=expected, got=error.got, where=error.where, hint=hint)


def _message(body: bytes) -> str:
    try:
        found = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = body.decode(errors="replace")
    return plain(redact.redact(" ".join(str(found).split())))[:500]
