"""Creates Services at full speed or at a pace, and sees when each has its address."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Self

from lab.api import Api, ApiError, Json
from lab.cluster import Lab
from lab.run import LabError, wait_for
from roost.words import KUBE_VIP_WITHOUT_ENDPOINTS

CONNECTIONS = 16


def service(name: str, annotations: Mapping[str, str] | None = None, **spec: object) -> Json:
    """A Service of type LoadBalancer for the pods of app web."""
    told = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": dict(annotations or {})},
        "spec": told | spec,
    }


def lone(name: str) -> Json:
    """One without endpoints that is announced all the same: the work of the endpoint controllers is left out."""
    return service(name, {KUBE_VIP_WITHOUT_ENDPOINTS: "true"}, selector=None)


def path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/services/{name}".rstrip("/")


@contextmanager
def connections(lab: Lab) -> Iterator[tuple[Api, ThreadPoolExecutor]]:
    """Sixteen connections to the API server, already open, each with a thread of its own."""
    api = lab.control.client()
    together = threading.Barrier(CONNECTIONS)

    def open_one() -> None:
        together.wait(10)  # else a thread that is done takes the next one's turn
        api.request("GET", "/version")

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        try:
            for opened in [pool.submit(open_one) for _ in range(CONNECTIONS)]:
                opened.result()
            yield api, pool
        finally:
            pool.shutdown(cancel_futures=True)
            api.close()


def create(lab: Lab, namespace: str, services: Sequence[Json], *, rate: float = 0) -> dict[str, float]:
    """Create them all, *rate* a second (0: as fast as it goes); when each was asked for, in seconds since 1970."""
    asked: dict[str, float] = {}

    def one(api: Api, wanted: Json) -> None:
        asked[wanted["metadata"]["name"]] = time.time()
        api.request("POST", path(namespace), wanted)

    with connections(lab) as (api, pool):
        started = time.monotonic()
        under_way = []
        for number, wanted in enumerate(services):
            if rate:
                time.sleep(max(0.0, started + number / rate - time.monotonic()))
            under_way.append(pool.submit(one, api, wanted))
        for done in under_way:
            done.result()
    return asked


def delete(lab: Lab, namespace: str, names: Sequence[str]) -> None:
    """Delete them all; returns when the API server has taken the last deletion."""

    def one(api: Api, name: str) -> None:
        try:
            api.request("DELETE", path(namespace, name))
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    with connections(lab) as (api, pool):
        for done in [pool.submit(one, api, name) for name in names]:
            done.result()


def make_namespace(lab: Lab, name: str) -> None:
    lab.api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})


class StatusWatch:
    """A watch of the Services of *namespace* that notes when each has an address, and which; a context manager."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self.seen: dict[str, float] = {}  # name → when its first address was seen, seconds since 1970
        self.addresses: dict[str, set[str]] = {}  # name → all that were ever seen
        self._ended = False
        self._connection = lab.control.pki.connection(600)
        self._connection.request("GET", f"{path(namespace)}?watch=1")
        self._response = self._connection.getresponse()
        if self._response.status != HTTPStatus.OK:
            raise LabError(f"the API server refuses a watch: {self._response.status}")
        self._thread = threading.Thread(target=self._read, name="status watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ended = True
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._connection.close()

    def _read(self) -> None:
        try:
            while line := self._response.readline():
                if b'"ingress"' in line:
                    self._note(json.loads(line), time.time())
        except (OSError, http.client.HTTPException, ValueError):
            if not self._ended:
                raise

    def _note(self, event: Json, now: float) -> None:
        if event["type"] == "DELETED":
            return
        name = event["object"]["metadata"]["name"]
        self.seen.setdefault(name, now)
        found = {entry["ip"] for entry in event["object"]["status"]["loadBalancer"]["ingress"]}
        self.addresses.setdefault(name, set()).update(found)

    def wait(self, count: int, seconds: float) -> bool:
        """Wait until *count* Services have an address; False if that is not so after *seconds*."""
        try:
            return wait_for("addresses", lambda: len(self.seen) >= count, seconds, every=0.05)
        except LabError:
            return False

    def duplicates(self) -> int:
        """Addresses that were seen at more than one Service."""
        owners = Counter(address for found in self.addresses.values() for address in found)
        return sum(count > 1 for count in owners.values())
