"""What kubelet says every two seconds: that its node lives. One thread for all nodes."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

from lab.api import Api, ApiError, Json

PERIOD = 2.0  # seconds
AFTERCARE = 10.0  # seconds after an interruption in which the node is looked at: it may still be found not ready


class Heartbeat:
    """Renews the Lease of each node that can reach the API, and makes a node Ready again that was thought dead."""

    def __init__(self, api: Api, revive: Callable[[str], None]) -> None:
        """*revive* is called with a node's name from the thread when its Node object is not Ready though it beats."""
        self._api = api
        self._revive = revive
        self._beating: dict[str, float] = {}  # node → until when it is looked after
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.errors = 0

    def start(self) -> None:
        self._thread.start()

    def beat(self, node: str) -> None:
        """Let *node* beat, beginning now."""
        with self._lock:
            self._beating.setdefault(node, time.monotonic() + AFTERCARE)
        self._wake.set()

    def pause(self, node: str) -> None:
        with self._lock:
            self._beating.pop(node, None)

    def stop(self) -> None:
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._api.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.clear()
            started = time.monotonic()
            with self._lock:
                beating = dict(self._beating)
            for node, care in beating.items():
                if not self._one(node, care):
                    break  # nobody answers; the others would only wait for the same
            self._wake.wait(max(0.0, started + PERIOD - time.monotonic()))

    def _one(self, node: str, care: float) -> bool:
        """Renew the Lease of *node*; False if the API did not answer."""
        try:
            self._renew(node)
            if time.monotonic() < care and not self._ready(node):
                self._revive(node)
        except ApiError:
            self.errors += 1
            with self._lock:
                for each in self._beating:
                    self._beating[each] = time.monotonic() + PERIOD + AFTERCARE
            return False
        return True

    def _renew(self, node: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec: Json = {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": now}
        try:
            self._api.request("PATCH", f"{path}/{node}", {"spec": spec})
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            self._api.request("POST", path, {"metadata": {"name": node}, "spec": spec})

    def _ready(self, node: str) -> bool:
        conditions = self._api.request("GET", f"/api/v1/nodes/{node}")["status"].get("conditions", [])
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
