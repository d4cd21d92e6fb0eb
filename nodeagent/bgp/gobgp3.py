"""The dialect of GoBGP 3: service apipb.GobgpApi."""

from nodeagent.bgp.dialect import NOWHERE, Dialect
from nodeagent.bgp.schema import Message, schema
from nodeagent.bgp.values import Prefix

TYPE = "type.googleapis.com/apipb."


class Gobgp3(Dialect):
    """Prefixes and attributes travel as google.protobuf.Any."""

    TABLE = 0
    NEIGHBORS, LARGE_COMMUNITIES = 1, 6
    ANY = 0
    ADD, REMOVE, REPLACE = 0, 1, 2
    REPLACE_MED = 1
    UP = 0
    RESTARTABLE = True

    def __init__(self) -> None:
        self.schema = schema(3)
        self._tags: dict[bytes, str] = {}  # of the few treatments there are, as they come back

    def attributes(self, family: int, tag: str) -> Message:
        path = self.schema.Path(family=self.family(family))
        path.nlri.type_url = f"{TYPE}IPAddressPrefix"
        said = [
            ("OriginAttribute", self.schema.OriginAttribute(origin=0)),
            ("NextHopAttribute", self.schema.NextHopAttribute(next_hop=NOWHERE[family])),
        ]
        if tag:
            large = self.schema.LargeCommunitiesAttribute(communities=self._communities(tag))
            said.append(("LargeCommunitiesAttribute", large))
        for name, message in said:
            path.pattrs.add(type_url=TYPE + name, value=message.SerializeToString())
        return path

    def put_prefix(self, path: Message, prefix: Prefix) -> None:
        nlri = self.schema.IPAddressPrefix(prefix=str(prefix.network_address), prefix_len=prefix.prefixlen)
        path.nlri.value = nlri.SerializeToString()

    def tag(self, path: Message) -> str:
        for attribute in path.pattrs:
            if attribute.type_url.endswith(".LargeCommunitiesAttribute"):
                if attribute.value not in self._tags:
                    large = self.schema.LargeCommunitiesAttribute.FromString(attribute.value)
                    self._tags[attribute.value] = self._tag(large.communities)
                return self._tags[attribute.value]
        return ""

    def list_peers(self, *, advertised: bool) -> Message:
        return self.schema.ListPeerRequest(enableAdvertised=advertised)

    def advertised(self, peer: Message) -> int:
        """With graceful restart this version counts the End-of-RIB of each family as well."""
        graceful = any(one.type_url.endswith(".GracefulRestartCapability") for one in peer.state.remote_cap)
        extra = 1 if graceful and peer.graceful_restart.enabled else 0
        return sum(max(0, one.state.advertised - extra) for one in peer.afi_safis)

    def last_error(self, state: Message) -> str:
        """This version keeps no reason; it only counts, and a count would be news with every try."""
        received, sent = state.messages.received.notification, state.messages.sent.notification
        sides = [side for side, count in (("from the router", received), ("to it", sent)) if count]
        return f"NOTIFICATIONs {' and '.join(sides)} (gobgpd's log says which)" if sides else ""
