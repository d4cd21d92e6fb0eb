"""Our table as nft reads it, and read back."""

from ipaddress import ip_address

from nodeagent.ipvs.rules import table, text
from nodeagent.ipvs.values import Place, Table

FOUR, SIX = Place(ip_address("192.0.2.1"), 6443), Place(ip_address("2001:db8::1"), 443)
FULL = Table(frozenset({FOUR, SIX}), frozenset({("net/ipv4/vs/conntrack", "0")}))


def test_what_leaves_by_our_services_is_masqueraded() -> None:
    assert text(FULL) == (
        "add table inet roost-ipvs\n"
        "delete table inet roost-ipvs\n"
        "table inet roost-ipvs {\n"
        "    chain outgoing {\n"
        "        type nat hook postrouting priority srcnat; policy accept;\n"
        '        oifname != "lo" meta l4proto tcp ct original ip daddr 192.0.2.1 ct original proto-dst 6443'
        ' masquerade comment "192.0.2.1 6443"\n'
        '        oifname != "lo" meta l4proto tcp ct original ip6 daddr 2001:db8::1 ct original proto-dst 443'
        ' masquerade comment "2001:db8::1 443"\n'
        "    }\n"
        "    chain before {\n"
        '        return comment "net/ipv4/vs/conntrack=0"\n'
        "    }\n"
        "}\n"
    )


def test_an_empty_table_is_none() -> None:
    assert text(Table()) == "add table inet roost-ipvs\ndelete table inet roost-ipvs\n"


def test_it_is_read_back() -> None:
    listed = {
        "nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"table": {"family": "inet", "name": "roost-ipvs", "handle": 1}},
            {"chain": {"family": "inet", "table": "roost-ipvs", "name": "outgoing", "handle": 1}},
            {"rule": {"chain": "outgoing", "comment": "192.0.2.1 6443", "expr": []}},
            {"rule": {"chain": "outgoing", "comment": "2001:db8::1 443", "expr": []}},
            {"rule": {"chain": "before", "comment": "net/ipv4/vs/conntrack=0", "expr": []}},
        ]
    }
    assert table(listed) == FULL


def test_what_somebody_meddled_with_is_put_right() -> None:
    """Rules of another make are not ours, so that the table is not as it should be."""
    listed = {"nftables": [{"rule": {"chain": "outgoing", "expr": []}}, {"rule": {"chain": "before", "comment": "?"}}]}
    assert table(listed) == Table(meddled=True)
