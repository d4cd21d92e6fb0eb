"""The gate's rules: each kind of claim is dropped for want of either, and a table is known by its shape."""

from ipaddress import ip_address as ip

import pytest

from nodeagent.gate import rules
from nodeagent.gate.plan import Address, Range
from nodeagent.gate.rules import EGRESS, FORMS, OUTPUT, Form, chain_name, chain_of, replacement, uses

each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
NOTHING = frozenset[Address]()


@each_form
def test_each_kind_of_claim_is_dropped_for_want_of_either(form: Form) -> None:
    drops = [
        line.strip() for line in replacement(form, (), NOTHING, (), ["eth0"]).splitlines() if line.endswith("drop")
    ]
    assert sorted(drops) == sorted(
        [
            "arp saddr ip . oifname != @held4 drop",
            "@th,64,128 . oifname != @held6 drop",
            "@nh,64,128 . oifname != @held6 drop",
            *["oifname != @permit drop"] * 3,
        ]
    )


@each_form
def test_vips_and_ranges_are_fenced_from_the_first_moment_on(form: Form) -> None:
    vips = {ip("10.1.0.101"), ip("10.1.0.100"), ip("fd01::100")}
    text = replacement(form, (), vips, [Range.parse("10.2.0.0/24"), Range.parse("fd02::1")], ["eth0"])
    assert "elements = { 10.1.0.100, 10.1.0.101 }" in text
    assert "elements = { 0xfd010000000000000000000000000100 }" in text
    assert "elements = { 10.2.0.0-10.2.0.255 }" in text
    assert "elements = { 0xfd020000000000000000000000000001 }" in text
    assert '"eth0"' in text


@each_form
def test_whatever_is_there_is_replaced_in_the_same_transaction(form: Form) -> None:
    text = replacement(form, OUTPUT.tables, NOTHING, (), ())
    assert text.startswith("delete table arp roost\ndelete table ip6 roost\ntable ")


def test_shapes_are_told_apart_and_not_what_is_in_their_sets() -> None:
    assert EGRESS.fingerprint != OUTPUT.fingerprint
    for form in FORMS:
        assert form.fingerprint in replacement(form, (), {ip("10.1.0.100")}, (), ["eth0"])


def test_a_chain_is_used_by_its_rules_and_by_the_jumps_to_it() -> None:
    (table,) = EGRESS.tables
    assert uses(table, 0)["sender"] == 4
    assert uses(table, 3)["senders"] == uses(table, 0)["senders"] + 3


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        pytest.param("eth0", "out-eth0", id="plain"),
        pytest.param("eth0.100", "out-eth0.100", id="a VLAN's"),
        pytest.param("a@b", "odd-614062", id="a mark that nft does not take"),
        pytest.param("ü", "odd-c3bc", id="no ASCII"),
    ],
)
def test_a_device_has_a_chain_by_its_name(device: str, expected: str) -> None:
    assert chain_name(device) == expected
    assert rules.device_of(expected) == device
    assert f'device "{device}"' in chain_of(device)
    assert chain_of(device, anew=True).endswith(chain_of(device))


def test_pools_are_replaced_whole() -> None:
    text = rules.pools(OUTPUT, [Range.parse("10.2.0.0/24")])
    assert text.splitlines() == [
        "flush set arp roost pools4",
        "add element arp roost pools4 { 10.2.0.0-10.2.0.255 }",
        "flush set ip6 roost pools6",
    ]
