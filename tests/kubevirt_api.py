"""A *simulated* cluster: an API server with the paths that kmi uses, over TLS with an authority of its own, and with
faults that can be switched on. There is no cluster, no KubeVirt and no guest behind it; its version says so, and a
report made with it says ``simulated``.

What it imitates: Kubernetes' API conventions (``Status``, lists, label and field selectors, uid preconditions);
KubeVirt's ``pkg/virt-api/api.go`` (paths of ``virtualmachineinstances`` and of the subresources ``console``,
``portforward/<port>``, ``guestosinfo``), ``pkg/virt-api/rest/{console,portforward,subresource}.go`` (a stream only
while the instance is running, an error while no agent is connected), ``staging/src/kubevirt.io/api/core/v1/types.go``
(phases and conditions), and the label ``kubevirt.io/created-by`` of virt-launcher's pods (``pkg/virt-controller``).
"""

from __future__ import annotations

import atexit
import json
import re
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.answering import answering
from tests.websocket_server import CLOSE, PING, Peer

VERSION = "v1.35.8-simulated"
TOKEN = "canary-token-8f2kQx93LmZ"
PROTOCOL = "plain.kubevirt.io"
PHASES = ("Pending", "Scheduling", "Scheduled", "Running")
_VMIS = re.compile(r"/apis/kubevirt\.io/v1/namespaces/([a-z0-9-]+)/virtualmachineinstances(?:/([a-z0-9-]+))?")
_SUB = re.compile(
    r"/apis/subresources\.kubevirt\.io/v1/namespaces/([a-z0-9-]+)/virtualmachineinstances/([a-z0-9-]+)/(.+)"
)
_CORE = re.compile(r"/api/v1/namespaces/([a-z0-9-]+)/(pods|events)(?:/([a-z0-9-]+)/log)?")


@dataclass(kw_only=True)
class Faults:
    """What goes wrong. ``forbid`` holds ``METHOD resource``; ``statuses`` are answers by the same word, one for each
    request; requests of the word in ``hang`` are never answered; ``waiting`` is a reason that a container waits for."""

    forbid: set[str] = field(default_factory=set)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    hang: str = ""
    waiting: str = ""
    unschedulable: bool = False
    never_ready: bool = False
    no_agent: bool = False
    old_agent: bool = False
    ends: bool = False
    lost_create: bool = False
    cut_console: int = 0
    huge_frame: bool = False
    stays: bool = False
    hostile: bool = False


@dataclass(kw_only=True)
class Simulated:
    """``objects`` by name; ``target`` is the local TCP port that port-forwards lead to; ``console`` is what the guest
    has written, and ``entered`` what it writes for each Enter."""

    folder: Path
    namespace: str = "tests"
    token: str = TOKEN
    url: str = ""
    target: int = 0
    console: bytes = b"Linux version 6.1\r\nkmi-test login: "
    entered: bytes = b"\r\nkmi-test login: "
    faults: Faults = field(default_factory=Faults)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    typed: list[bytes] = field(default_factory=list)
    looks: Counter[str] = field(default_factory=Counter)
    kubevirts: list[dict[str, Any]] | None = field(default_factory=lambda: [_KUBEVIRT])
    version: str = VERSION
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def authority(self) -> Path:
        return self.folder / "ca.pem"

    def kubeconfig(self, **user: Any) -> Path:
        """A file whose current context is this cluster, with its token unless ``user`` says otherwise."""
        path = self.folder / "kubeconfig"
        value = {
            "apiVersion": "v1", "kind": "Config", "current-context": "sim",
            "clusters": [{"name": "sim", "cluster": {"server": self.url, "certificate-authority": "ca.pem"}}],
            "users": [{"name": "me", "user": user or {"token": self.token}}],
            "contexts": [{"name": "sim", "context": {"cluster": "sim", "user": "me", "namespace": self.namespace}}],
        }  # fmt: skip
        path.write_text(json.dumps(value))
        return path

    def add(self, name: str, began: str, *, label: str = "kmi.dev/test", created: str | None = None) -> None:
        """An object that somebody left."""
        self.objects[name] = {
            "metadata": {
                "name": name, "uid": str(uuid.uuid4()), "labels": {label: "left"},
                "annotations": {"kmi.dev/began": began}, "creationTimestamp": created or began,
            }
        }  # fmt: skip


_KUBEVIRT = {
    "status": {"observedKubeVirtVersion": "v1.8.4"},
    "spec": {"configuration": {"developerConfiguration": {
        "useEmulation": True, "featureGates": ["Sidecar"], "disabledFeatureGates": ["ImageVolume"]}}},
}  # fmt: skip


@contextmanager
def simulated(folder: Path) -> Iterator[Simulated]:
    folder.mkdir(parents=True, exist_ok=True)
    world = Simulated(folder=folder)
    authority(folder)

    class Handler(_Handler):
        cluster = world

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            """The handshake belongs to the connection's own thread."""
            try:
                with context.wrap_socket(request, server_side=True) as secure:
                    self.RequestHandlerClass(secure, client_address, self)
            except OSError:
                pass

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that leaves is none."""

    server = Server(("127.0.0.1", 0), Handler)
    world.url = f"https://127.0.0.1:{server.server_port}"
    with answering(server):
        try:
            yield world
        finally:
            world.over.set()


def authority(folder: Path, *, another: bool = False) -> None:
    """``ca.pem``, a server's certificate for 127.0.0.1, and a client's, all of one throw-away authority; of ``another``
    one than the servers that run."""
    if another:
        _authority.cache_clear()
    for path in Path(_authority().name).iterdir():
        shutil.copy(path, folder)


@cache
def _authority() -> tempfile.TemporaryDirectory[str]:
    made = tempfile.TemporaryDirectory(prefix="kmi-ca-")
    folder = Path(made.name)

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=simulated")
    for name, extra in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "ext").write_text(extra)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", "ext")  # fmt: skip
    atexit.register(made.cleanup)
    return made


class _Handler(BaseHTTPRequestHandler):
    cluster: Simulated
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_DELETE = do_GET

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        word = f"{self.command} {_resource(parts.path)}"
        faults = self.cluster.faults
        self.cluster.asked.append(f"{self.command} {parts.path}" + (f" {parts.query}" if parts.query else ""))
        if faults.hang and faults.hang == word:
            self.cluster.over.wait(60)
            return None
        secure = self.connection
        by_certificate = isinstance(secure, ssl.SSLSocket) and secure.getpeercert()
        if self.headers.get("Authorization") != f"Bearer {self.cluster.token}" and not by_certificate:
            return self._status(401, "Unauthorized")
        if word in faults.forbid:
            return self._status(403, f'User "me" cannot {self.command.lower()} resource "{_resource(parts.path)}"')
        if statuses := faults.statuses.get(word):
            return self._status(statuses.pop(0), "an error of the server's own")
        return self._route(parts.path, query, sent)

    def _route(self, path: str, query: dict[str, str], sent: Any) -> None:
        world = self.cluster
        if path == "/version":
            return self._json({"gitVersion": world.version})
        if path == "/apis/kubevirt.io/v1/kubevirts":
            if world.kubevirts is None:
                return self._status(404, "the server could not find the requested resource")
            return self._json({"items": world.kubevirts})
        if found := _VMIS.fullmatch(path):
            return self._vmis(found[1], found[2], query, sent)
        if found := _SUB.fullmatch(path):
            return self._subresource(found[1], found[2], found[3])
        if found := _CORE.fullmatch(path):
            return self._core(found[2], found[3], query)
        return self._status(404, "the server could not find the requested resource")

    def _vmis(self, namespace: str, name: str | None, query: dict[str, str], sent: Any) -> None:
        world = self.cluster
        if namespace != world.namespace:
            return self._status(403, f"nothing in {namespace} is yours")
        if self.command == "POST":
            return self._create(sent)
        if name is None:
            label, _, value = query.get("labelSelector", "").partition("=")
            found = [one for one in world.objects.values() if label in one["metadata"].get("labels", {})]
            return self._json(
                {"items": [one for one in found if not value or one["metadata"]["labels"][label] == value]}
            )
        one = world.objects.get(name)
        if one is None:
            return self._status(404, f'virtualmachineinstances "{name}" not found')
        if self.command == "DELETE":
            if sent["preconditions"]["uid"] != one["metadata"]["uid"]:
                return self._status(409, "the UID in the precondition does not match")
            if world.faults.stays:
                one["metadata"]["deletionTimestamp"] = _now()
            else:
                del world.objects[name]
            return self._json({"kind": "Status", "status": "Success"})
        world.looks[name] += 1
        return self._json({**one, "status": _status(world, name)})

    def _create(self, sent: Any) -> None:
        world, name = self.cluster, sent["metadata"]["name"]
        if name in world.objects:
            return self._status(409, f'virtualmachineinstances "{name}" already exists')
        sent["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        world.made.append(sent)
        world.objects[name] = sent
        if world.faults.lost_create:
            world.faults.lost_create = False
            self.close_connection = True
            return None
        return self._json(sent, 201)

    def _core(self, kind: str, pod: str | None, query: dict[str, str]) -> None:
        if pod:
            return self._send(
                200, f"log of {query['container']}, authorization: Bearer {TOKEN}\n".encode(), "text/plain"
            )
        uid = query.get("labelSelector", query.get("fieldSelector", "")).rpartition("=")[2]
        owner = [one for one in self.cluster.objects.values() if one["metadata"]["uid"] == uid]
        if kind == "events":
            return self._json({"items": _events(self.cluster)})
        return self._json({"items": [_pod(self.cluster, one) for one in owner] or None})

    def _subresource(self, namespace: str, name: str, what: str) -> None:
        world = self.cluster
        if namespace != world.namespace or name not in world.objects:
            return self._status(404, f'virtualmachineinstances "{name}" not found')
        status = _status(world, name)
        if status["phase"] != "Running":
            return self._status(400, "Unable to connect to VirtualMachineInstance because phase is not Running")
        if what == "guestosinfo":
            if not any(row["type"] == "AgentConnected" for row in status["conditions"]):
                return self._status(409, "VMI does not have guest agent connected")
            system = {"name": "Debian GNU/Linux", "prettyName": "Debian GNU/Linux 12 (bookworm)"}
            if world.faults.hostile:
                system = {"prettyName": "\x1b[31mred\u202e" + "A" * 5000}
            return self._json({"guestAgentVersion": "7.2.0", "os": system})
        if PROTOCOL not in (self.headers.get("Sec-WebSocket-Protocol") or ""):
            return self._status(400, "no such subprotocol")
        if what == "console":
            return self._console(Peer(self, PROTOCOL))
        if what == "portforward/22":
            return self._forward(Peer(self, PROTOCOL))
        return self._status(404, f"no subresource {what}")

    def _console(self, peer: Peer) -> None:
        world = self.cluster
        if world.faults.huge_frame:
            peer.send(b"x" * (5 << 20), announced=1 << 40)
            return
        if world.faults.cut_console:
            world.faults.cut_console -= 1
            peer.send(world.console[:5])
            return
        peer.send(b"are you there", PING)
        peer.send(world.console)
        while (data := peer.receive()) is not None:
            world.typed.append(data)
            if data == b"\r":
                peer.send(world.entered)

    def _forward(self, peer: Peer) -> None:
        """On one thread: OpenSSL's connections are not for two at a time."""
        secure = peer.connection
        with socket.create_connection(("127.0.0.1", self.cluster.target), timeout=10) as guest:
            while not self.cluster.over.is_set():
                ready = select.select([guest, secure], [], [], 0 if secure.pending() else 0.2)[0]
                if secure.pending() or secure in ready:
                    data = peer.receive()
                    if not data:
                        break
                    guest.sendall(data)
                if guest in ready:
                    data = guest.recv(1 << 16)
                    if not data:
                        peer.send(b"", CLOSE)
                        break
                    peer.send(data)

    def _status(self, code: int, message: str) -> None:
        self._json({"kind": "Status", "status": "Failure", "message": message, "code": code}, code)

    def _json(self, value: Any, code: int = 200) -> None:
        self._send(code, json.dumps(value).encode(), "application/json")

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if 300 <= code < 400:
            self.send_header("Location", self.cluster.url.replace("https", "wss") + "/elsewhere")
        self.end_headers()
        self.wfile.write(body)


def _resource(path: str) -> str:
    """The last word of a path that is a kind: ``virtualmachineinstances``, ``console``, ``pods``, ``version``."""
    if found := _SUB.fullmatch(path):
        return found[3].partition("/")[0]
    if found := _CORE.fullmatch(path):
        return "log" if found[3] else found[2]
    return "virtualmachineinstances" if _VMIS.fullmatch(path) else path.rpartition("/")[2]


def _status_rows(faults: Faults, running: int) -> list[dict[str, str]]:
    rows = [{"type": "Ready", "status": "True"}] if running and not faults.never_ready else []
    rows += [{"type": "AgentConnected", "status": "True"}] if running > 1 and not faults.no_agent else []
    return rows + ([{"type": "AgentVersionNotSupported", "status": "True"}] if faults.old_agent else [])


def _status(world: Simulated, name: str) -> dict[str, Any]:
    """One phase further with each look, up to Running; nothing gets on while a fault holds it."""
    faults, looks = world.faults, world.looks[name]
    held = faults.waiting or faults.unschedulable
    phase = PHASES[min(looks, 1 if held else len(PHASES) - 1)]
    running = max(looks - len(PHASES) + 2, 0) if phase == "Running" else 0
    if faults.ends and running > 1:
        phase = "Failed"
    return {"phase": phase, "conditions": _status_rows(faults, running)}


def _pod(world: Simulated, vmi: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = {"running": {}}
    if world.faults.waiting:
        state = {"waiting": {"reason": world.faults.waiting, "message": 'Back-off pulling image "registry.example/x"'}}
    conditions = []
    if world.faults.unschedulable:
        message = "0/1 nodes are available: 1 Insufficient devices.kubevirt.io/kvm."
        conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
    rows = [{"name": "compute", "state": {"running": {}}}, {"name": "volumerootdisk", "state": state}]
    name = f"virt-launcher-{vmi['metadata']['name']}"
    return {
        "metadata": {"name": name, "uid": f"pod-{vmi['metadata']['uid']}"},
        "status": {"containerStatuses": rows, "conditions": conditions},
    }


def _events(world: Simulated) -> list[dict[str, str]]:
    if world.faults.waiting:
        return [{"type": "Warning", "reason": "Failed", "message": "manifest unknown: no such manifest"}]
    if world.faults.unschedulable:
        return [{"type": "Warning", "reason": "FailedScheduling", "message": "0/1 nodes are available"}]
    return [{"type": "Normal", "reason": "Started", "message": "VirtualMachineInstance started."}]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def waited(what: Any, seconds: float = 10.0) -> bool:
    """Whether ``what()`` came true in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
