"""What can be set about BGP without any object: kube-vip's way, under our names and under its own. No I/O."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from nodeagent.bgp.notation import MOST_ASN, NextHopMode, Peer
from roost.values import also
from roost.words import Address

LEAST_HOLD, MOST_HOLD = 3, 65535  # seconds (RFC 4271, section 4.2)
MOST_RESTART = 4095  # seconds (RFC 4724, section 3: twelve bits)


@dataclass(frozen=True, slots=True)
class Settings:
    """What concerns peers is about those of the settings and of the node's annotations; a BGPPeer has its own."""

    bgp_enable: bool = field(default=True, metadata=also("bgp_enable"))
    """Off: this node speaks no BGP, whatever BGPPeers there are."""

    bgp_asn: int = field(default=65000, metadata=also("bgp_as"))
    """Our AS number towards the peers of the settings."""

    bgp_router_id: IPv4Address | None = field(default=None, metadata=also("bgp_routerid"))
    """Router id where no BGPPeer has one. Unset: the node's first IPv4 address, or a number made of its name."""

    bgp_router_interface: str = field(default="", metadata=also("bgp_routerinterface"))
    """Interface whose IPv4 address is the router id."""

    bgp_peers: tuple[Peer, ...] = field(default=(), metadata=also("bgp_peers"))
    """Peers: address:AS:password:multihop[:port[:mpbgp-options[:bfd-options]]]; IPv6 in [ ], or unnumbered:LINK."""

    bgp_peer_address: Address | None = field(default=None, metadata=also("bgp_peeraddress"))
    """One more peer: its address."""

    bgp_peer_asn: int = field(default=65000, metadata=also("bgp_peeras"))
    """The AS number of that peer."""

    bgp_peer_password: str = field(default="", repr=False, metadata=also("bgp_peerpass"))
    """The TCP MD5 password of that peer."""

    bgp_multihop: bool = field(default=False, metadata=also("bgp_multihop"))
    """Whether that peer is more than one hop away."""

    bgp_source_address: Address | None = field(default=None, metadata=also("bgp_sourceip"))
    """Address that sessions begin from."""

    bgp_source_interface: str = field(default="", metadata=also("bgp_sourceif"))
    """Interface that sessions go through."""

    bgp_hold: int = field(default=30, metadata=also("bgp_hold_time"))
    """Seconds without a word after which a session is over."""

    bgp_keepalive: int = field(default=10, metadata=also("bgp_keepalive_interval"))
    """Seconds between two words when there is nothing to say; a third of hold is usual."""

    bgp_next_hop: NextHopMode = field(default=NextHopMode.SELF, metadata=also("mpbgp_nexthop"))
    """Announce both families in one session (MP-BGP), and what is the other family's next hop."""

    bgp_next_hop_ipv4: IPv4Address | None = field(default=None, metadata=also("mpbgp_ipv4"))
    """With bgp-next-hop Fixed: the next hop of IPv4 in sessions over IPv6."""

    bgp_next_hop_ipv6: IPv6Address | None = field(default=None, metadata=also("mpbgp_ipv6"))
    """With bgp-next-hop Fixed: the next hop of IPv6 in sessions over IPv4."""

    bgp_annotations: str = field(default="", metadata=also("annotation"))
    """Prefix of annotations on the Node that say who its peers are, in place of the settings; metal.equinix.com."""

    bgp_graceful_restart: int = 120
    """Seconds that routers keep our paths while the daemon restarts. 0: not at all."""

    bgp_drain: int = 10
    """Seconds that a node which is drained asks routers to prefer others before it withdraws."""

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {value} is not from {least} to {most}"
            for name, value, least, most in (
                ("bgp-asn", self.bgp_asn, 1, MOST_ASN),
                ("bgp-peer-asn", self.bgp_peer_asn, 1, MOST_ASN),
                ("bgp-hold", self.bgp_hold, 0, MOST_HOLD),
                ("bgp-keepalive", self.bgp_keepalive, 0, MOST_HOLD),
                ("bgp-graceful-restart", self.bgp_graceful_restart, 0, MOST_RESTART),
                ("bgp-drain", self.bgp_drain, 0, 3600),
            )
            if not least <= value <= most
        ]
        if 0 < self.bgp_hold < LEAST_HOLD:
            wrong.append(f"bgp-hold {self.bgp_hold} is neither 0 nor at least {LEAST_HOLD}")
        elif 0 < self.bgp_hold <= self.bgp_keepalive:
            wrong.append(f"bgp-keepalive {self.bgp_keepalive} is not shorter than bgp-hold {self.bgp_hold}")
        if wrong:
            raise ValueError("; ".join(wrong))
