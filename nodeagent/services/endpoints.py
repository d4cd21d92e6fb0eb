"""Where Services have their endpoints, and what kube-proxy on this node says of them. No I/O."""

from dataclasses import dataclass

from roost.kube.wire import Endpoint, EndpointSlice
from roost.words import SERVICE_NAME_LABEL

ServiceKey = tuple[str, str]  # namespace, name

NOWHERE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ready:
    """The nodes where one EndpointSlice has an endpoint that is ready, or that still serves while it terminates."""

    version: int
    nodes: frozenset[str]
    ending: frozenset[str] = NOWHERE


def ready(piece: EndpointSlice) -> Ready:
    """What counts of a slice. Conditions are read as kube-proxy does: unset means ready, and serving."""
    ends = piece.endpoints or ()
    nodes = frozenset(_node(end) for end in ends if end.conditions.ready is not False)
    ending = frozenset(_node(e) for e in ends if e.conditions.ready is False and _serves_to_its_end(e))
    return Ready(6 if piece.address_type == "IPv6" else 4, nodes, ending)


def _serves_to_its_end(end: Endpoint) -> bool:
    return end.conditions.terminating is True and end.conditions.serving is not False


def _node(end: Endpoint) -> str:
    return end.node_name or ""


class Endpoints:
    """The slices of all Services, and what this node's kube-proxy answered for those of policy Local."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._slices: dict[ServiceKey, dict[str, Ready]] = {}
        self._service_of: dict[str, ServiceKey] = {}  # by key of the EndpointSlice; its label may change
        self._health: dict[tuple[ServiceKey, int], bool] = {}

    def put_slice(self, key: str, new: EndpointSlice | None) -> set[ServiceKey]:
        """Take in a slice; returns the Services whose endpoints are no longer as they were."""
        service = None if new is None else (new.metadata.namespace, new.metadata.labels.get(SERVICE_NAME_LABEL, ""))
        former = self._service_of.get(key)
        changed: set[ServiceKey] = set()
        if former is not None and former != service:
            del self._service_of[key]
            changed |= self._put(former, key, None)
        if new is not None and service is not None:
            self._service_of[key] = service
            changed |= self._put(service, key, ready(new))
        return changed

    def _put(self, service: ServiceKey, key: str, now: Ready | None) -> set[ServiceKey]:
        slices = self._slices.setdefault(service, {})
        before = slices.pop(key, None)
        if now is not None:
            slices[key] = now
        if not slices:
            del self._slices[service]
        return {service} if now != before else set()

    def put_health(self, service: ServiceKey, version: int, serves: bool | None) -> bool:
        """Take in what kube-proxy here answers for a Service and family (None: nothing); True: it is news."""
        known = self._health.get((service, version))
        if serves is None:
            self._health.pop((service, version), None)
        else:
            self._health[service, version] = serves
        return known is not serves

    def usable(self, service: ServiceKey, version: int) -> frozenset[str]:
        """The nodes with a ready endpoint; where there is none at all, those with one that serves to its end.

        So does kube-proxy choose (KEP-1669).
        """
        nodes, ending = self._nodes(service, version)
        return nodes or ending

    def serving(self, service: ServiceKey, version: int) -> frozenset[str]:
        """The nodes that can serve with policy Local: as above, less this one while kube-proxy here says no.

        kube-proxy learns of endpoints as we do and then has to make its rules, so its yes is never newer than the
        slices, and its no is. It counts ready endpoints only, and has no say about those that terminate.
        """
        nodes, ending = self._nodes(service, version)
        if not nodes:
            return ending
        return nodes - {self.node} if self._health.get((service, version)) is False else nodes

    def is_here(self, service: ServiceKey, version: int) -> bool:
        """Whether this node has a ready endpoint, as the slices say."""
        return self.node in self._nodes(service, version)[0]

    def _nodes(self, service: ServiceKey, version: int) -> tuple[frozenset[str], frozenset[str]]:
        pieces = [piece for piece in self._slices.get(service, {}).values() if piece.version == version]
        if len(pieces) == 1:
            return pieces[0].nodes, pieces[0].ending
        nodes, ending = (NOWHERE.union(*kind) for kind in ([p.nodes for p in pieces], [p.ending for p in pieces]))
        return nodes, ending
