"""The objects that a boot test makes and looks at, by name: where each lies in the API."""

from __future__ import annotations

from typing import Any

from kmi.errors import NetworkError
from kmi.host.websockets import Stream
from kmi.kubevirt.api import Api, ApiError, Object, path

_MOST = "500"
"""Items of a list."""
_LOG = 4 << 20


class Resources:
    """``virtualmachineinstances`` of kubevirt.io/v1 with their subresources, pods and events, in one namespace."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.namespace = api.namespace
        self._vmis = path("apis", "kubevirt.io", "v1", "namespaces", api.namespace, "virtualmachineinstances")
        self._core = path("api", "v1", "namespaces", api.namespace)

    def version(self) -> str:
        """Of Kubernetes: ``v1.35.8``."""
        return str(self._api.json("GET", "/version").get("gitVersion", ""))[:100]

    def kubevirts(self) -> list[Object]:
        """KubeVirt's own configuration, over all namespaces. ApiError 403 for who may not read it."""
        return _items(self._api.json("GET", path("apis", "kubevirt.io", "v1", "kubevirts"), once=True))

    def create(self, manifest: Object) -> Object:
        """If the answer to a first attempt was lost, the second meets what that made: its name is no other's."""
        try:
            return self._api.json("POST", self._vmis, sent=manifest)
        except ApiError as error:
            if error.status != 409:
                raise
            return self.get(manifest["metadata"]["name"])

    def get(self, name: str, **options: Any) -> Object:
        """ApiError 404 if it is gone."""
        return self._api.json("GET", self._vmis + path(name), **options)

    def labelled(self, selector: str, **options: Any) -> list[Object]:
        return _items(self._api.json("GET", self._vmis, query={"labelSelector": selector, "limit": _MOST}, **options))

    def delete(self, name: str, uid: str, **options: Any) -> None:
        """Also if it is gone already. The uid keeps another one of the same name safe."""
        wanted = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        try:
            self._api.call("DELETE", self._vmis + path(name), sent=wanted, **options)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def guest(self, name: str, what: str) -> Object:
        """``guestosinfo``, ``userlist`` or ``filesystemlist``: what the guest agent told KubeVirt. ApiError while none
        is connected."""
        return self._api.json("GET", self._sub(name, what), once=True)

    def stream(self, name: str, *what: str) -> Stream:
        """``console``, or ``portforward`` and a port."""
        return self._api.stream(self._sub(name, *what))

    def pods(self, uid: str) -> list[Object]:
        """The virt-launcher pods of an instance (KubeVirt: label ``kubevirt.io/created-by``)."""
        query = {"labelSelector": f"kubevirt.io/created-by={uid}", "limit": _MOST}
        return _items(self._api.json("GET", f"{self._core}/pods", query=query, once=True))

    def events(self, uid: str) -> list[Object]:
        """Of one object."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": _MOST}
        return _items(self._api.json("GET", f"{self._core}/events", query=query, once=True))

    def log(self, pod: str, container: str) -> bytes:
        query = {"container": container, "limitBytes": str(_LOG)}
        return self._api.call("GET", f"{self._core}/pods" + path(pod, "log"), query=query, once=True)

    def _sub(self, name: str, *what: str) -> str:
        group = ("apis", "subresources.kubevirt.io", "v1", "namespaces", self.namespace)
        return path(*group, "virtualmachineinstances", name, *what)


def _items(found: Object) -> list[Object]:
    items = found.get("items")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        if items is None:  # Go writes an empty list as null
            return []
        raise NetworkError("the cluster's answer is no list of objects", got=type(items).__name__)
    return items
