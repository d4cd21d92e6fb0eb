"""The dialect of GoBGP 4: service api.GoBgpService."""

from nodeagent.bgp.dialect import NOWHERE, Dialect
from nodeagent.bgp.schema import Message, schema
from nodeagent.bgp.values import Prefix, Session

MICROSECONDS = 1000  # in a millisecond
REASONS = {
    1: "shut down by hand",
    2: "the hold timer expired",
    3: "NOTIFICATION sent",
    4: "NOTIFICATION received",
    5: "the connection broke while reading",
    6: "the connection broke while writing",
    7: "the idle timer expired",
    8: "the restart timer expired",
    9: "graceful restart",
    10: "a message that makes no sense",
    11: "hard reset",
    12: "the peer was removed",
    13: "the router has another AS than configured",
}


class Gobgp4(Dialect):
    """Prefixes and attributes are messages with one field set; 0 says nothing in its enumerations."""

    TABLE = 1
    NEIGHBORS, LARGE_COMMUNITIES = 2, 7
    ANY = 1
    ADD, REMOVE, REPLACE = 1, 2, 3
    REPLACE_MED = 2
    UP = 1
    RESTARTABLE = False

    def __init__(self) -> None:
        self.schema = schema(4)

    def attributes(self, family: int, tag: str) -> Message:
        path = self.schema.Path(family=self.family(family))
        path.pattrs.add().origin.origin = 0
        path.pattrs.add().next_hop.next_hop = NOWHERE[family]
        if tag:
            path.pattrs.add().large_communities.communities.extend(self._communities(tag))
        return path

    def put_prefix(self, path: Message, prefix: Prefix) -> None:
        nlri = path.nlri.prefix
        nlri.prefix, nlri.prefix_len = str(prefix.network_address), prefix.prefixlen

    def tag(self, path: Message) -> str:
        for attribute in path.pattrs:
            if attribute.HasField("large_communities"):
                return self._tag(attribute.large_communities.communities)
        return ""

    def list_peers(self, *, advertised: bool) -> Message:
        return self.schema.ListPeerRequest(enable_advertised=advertised)

    def last_error(self, state: Message) -> str:
        reason = REASONS.get(state.disconnect_reason, "")
        return ": ".join(filter(None, (reason, state.disconnect_message)))

    def put_bfd(self, peer: Message, session: Session) -> None:
        if session.bfd is not None:
            bfd = peer.bfd
            bfd.enabled, bfd.detection_multiplier = True, session.bfd.multiplier
            bfd.desired_minimum_tx_interval = session.bfd.transmit * MICROSECONDS
            bfd.required_minimum_receive = session.bfd.receive * MICROSECONDS

    def has_bfd(self, peer: Message) -> bool:
        return bool(peer.bfd.enabled)
