"""What a Service says of the nodes that announce it, and whose word counts."""

import pytest

from cloudprovider.model import Directions, Refused, Wish
from cloudprovider.services import wish
from cloudprovider.services.directions import is_trusted, read
from roost.kube.wire import Meta, Service, ServicePort, ServiceSpec

TRUSTED = {"roost.dev/service-authors": "trusted"}
INTERFACE, LEASE = "kube-vip.io/serviceInterface", "kube-vip.io/leaseName"
ALONE, ANNOUNCERS = "kube-vip.io/forcePerServiceElection", "roost.dev/announcers"


def service(**annotations: str) -> Service:
    names = {"interface": INTERFACE, "lease": LEASE, "alone": ALONE, "announcers": ANNOUNCERS}
    meta = Meta(name="web", namespace="shop", annotations={names[key]: text for key, text in annotations.items()})
    return Service(metadata=meta, spec=ServiceSpec(type="LoadBalancer", ports=(ServicePort(port=80),)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(service(), Directions(), id="nothing"),
        pytest.param(service(interface=" eth1 ", lease=" "), Directions(interface="eth1"), id="an interface"),
        pytest.param(service(interface="auto"), Directions(), id="any interface with the VIP's subnet"),
        pytest.param(service(lease="edge"), Directions(lease="shop/edge"), id="a lease of its namespace"),
        pytest.param(service(lease="infra/edge"), Directions(lease="infra/edge"), id="a lease of another namespace"),
        pytest.param(
            service(alone="true"), Directions(alone=True, announcers="HolderOnly"), id="an election of its own"
        ),
        pytest.param(
            service(alone="true", announcers="EveryEligibleNode"),
            Directions(alone=True, announcers="EveryEligibleNode"),
            id="a group of its own, and every node on layer 3",
        ),
        pytest.param(service(announcers=" HolderOnly "), Directions(announcers="HolderOnly"), id="the holder alone"),
        pytest.param(service(alone="no"), Directions(), id="no election of its own"),
    ],
)
def test_directions_of_a_trusted_namespace(given: Service, expected: Directions) -> None:
    assert read(given, TRUSTED) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(service(interface="eth 1"), f"{INTERFACE}: 'eth 1' cannot be", id="a space in an interface"),
        pytest.param(service(interface="../eth1"), "cannot be the name of an interface", id="a path"),
        pytest.param(service(interface="."), "cannot be the name of an interface", id="a dot"),
        pytest.param(service(interface="e" * 16), "cannot be the name of an interface", id="16 characters"),
        pytest.param(service(lease="a/b/c"), f"{LEASE}: 'a/b/c' is neither", id="two slashes"),
        pytest.param(service(lease="a/"), "is neither a name nor namespace/name", id="no name"),
        pytest.param(service(lease="/a"), "is neither a name nor namespace/name", id="no namespace"),
        pytest.param(
            service(announcers="everyone"),
            f"{ANNOUNCERS}: 'everyone' is neither EveryEligibleNode nor HolderOnly",
            id="announcers that are none",
        ),
    ],
)
def test_directions_that_cannot_be_followed(given: Service, message: str) -> None:
    answer = read(given, TRUSTED)
    assert isinstance(answer, Refused)
    assert message in answer.message
    assert wish.read(given, TRUSTED) == answer


def test_what_changes_nodes_is_left_aside_where_the_namespace_is_not_trusted() -> None:
    given = service(interface="../rubbish", lease="edge", alone="true")
    answer = read(given, {"roost.dev/service-authors": "perhaps"})
    assert isinstance(answer, Directions)
    assert (answer.interface, answer.lease, answer.alone) == ("", "", True)
    assert answer.ignored == (
        f"not followed: {INTERFACE}, {LEASE}; namespace shop is not labelled roost.dev/service-authors=trusted"
    )


def test_they_are_part_of_the_wish() -> None:
    answer = wish.read(service(interface="eth1", lease="edge"), TRUSTED)
    assert isinstance(answer, Wish)
    assert answer.directions == Directions("eth1", "shop/edge")


def test_who_is_trusted() -> None:
    assert is_trusted(TRUSTED)
    assert not is_trusted({})


def test_who_announces_a_service_is_its_authors_affair_everywhere() -> None:
    answer = read(service(announcers="HolderOnly"), {})
    assert answer == Directions(announcers="HolderOnly")
