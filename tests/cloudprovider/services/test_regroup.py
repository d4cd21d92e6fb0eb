"""A VIP whose group changes: the new holder asks nobody, so the old one must have let go before."""

from datetime import UTC, datetime
from ipaddress import ip_address

import msgspec
import pytest

from cloudprovider.model import Grant, Granted, Key, Wish
from cloudprovider.services.intent import spec_of
from cloudprovider.services.plan import Await, Standing, Step, Update, WriteStatus, is_let_go, steps
from roost.kube.wire import Meta, PoolAnnounce, Service, ServiceSpec, VirtualIP, VirtualIPSpec
from roost.words import FINALIZER, VIP_FINALIZER

NOW = datetime(2026, 11, 1, tzinfo=UTC)
WISH = Wish(Key("shop", "web"), "u", (4,))
GRANTED = Granted(ip_address("192.0.2.7"), "prod", PoolAnnounce())
META = Meta(name="web", namespace="shop", uid="u", finalizers=(FINALIZER,))
LOCAL = Service(metadata=META, spec=ServiceSpec(type="LoadBalancer", external_traffic_policy="Local"))
BEFORE = spec_of(GRANTED, WISH, Service(metadata=META))  # with policy Cluster
WANTED = spec_of(GRANTED, WISH, LOCAL)
NOWHERE = msgspec.structs.replace(WANTED, group="")
UNCLAIMED = tuple(msgspec.structs.replace(claim, uid="") for claim in BEFORE.claims)
RESTING = msgspec.structs.replace(BEFORE, claims=UNCLAIMED, retain_until="2026-11-01T00:01:00.000Z")


def first(have: VirtualIPSpec, *, withdrawn: bool) -> Step:
    """The first step about the VIP; the status may be written before or meanwhile."""
    vip = VirtualIP(metadata=Meta(name="192.0.2.7", finalizers=(VIP_FINALIZER,)), spec=have)
    names = frozenset({"192.0.2.7"} if withdrawn and is_let_go(vip) else ())
    found = steps(
        Standing(WISH.key, LOCAL, (vip,), NOW, ours_by_class=True, wish=WISH, withdrawn=names), Grant((GRANTED,))
    )
    return next(step for step in found if not isinstance(step, WriteStatus))


@pytest.mark.parametrize(
    ("have", "withdrawn", "expected"),
    [
        pytest.param(BEFORE, False, NOWHERE, id="from another group: first to none"),
        pytest.param(NOWHERE, False, None, id="in none, and some node has not followed yet: wait"),
        pytest.param(NOWHERE, True, WANTED, id="in none, and all have followed: to the new one"),
        pytest.param(RESTING, False, NOWHERE, id="it rests, and some node may still announce it: to none"),
        pytest.param(RESTING, True, WANTED, id="it rests, and nobody announces it: to the new one"),
        pytest.param(
            msgspec.structs.replace(WANTED, claims=(), retain_until=None), False, WANTED, id="in the right one: at once"
        ),
    ],
)
def test_the_way_to_another_group(have: VirtualIPSpec, withdrawn: bool, expected: VirtualIPSpec | None) -> None:
    if not have.claims:
        have = msgspec.structs.replace(have, claims=UNCLAIMED)
    match first(have, withdrawn=withdrawn):
        case Update(spec=spec):
            assert spec == expected
        case step:
            assert expected is None
            assert step == Await(("192.0.2.7",))


def test_the_status_does_not_wait_for_it() -> None:
    vip = VirtualIP(metadata=Meta(name="192.0.2.7", finalizers=(VIP_FINALIZER,)), spec=NOWHERE)
    found = steps(Standing(WISH.key, LOCAL, (vip,), NOW, ours_by_class=True, wish=WISH), Grant((GRANTED,)))
    assert [type(step) for step in found] == [WriteStatus, Await]
