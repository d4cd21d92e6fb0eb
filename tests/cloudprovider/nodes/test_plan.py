from cloudprovider.nodes.plan import QUIET, dead, suspects
from roost.kube.wire import Lease, LeaseSpec, Meta


def lease(name: str, version: str = "1") -> Lease:
    return Lease(metadata=Meta(name=name, resource_version=version))


def test_a_lease_is_dead_when_its_node_is_gone_and_it_stays_unchanged() -> None:
    leases = (lease("n1"), lease("n2"))
    first = suspects(leases, {"n1"}, {}, 0)
    assert dead(leases, first, 0) == ()
    later = suspects(leases, {"n1"}, first, QUIET)
    assert dead(leases, later, QUIET) == (lease("n2"),)


def test_a_lease_that_is_renewed_is_not_dead() -> None:
    first = suspects((lease("n2"),), set(), {}, 0)
    renewed = (lease("n2", "2"),)
    later = suspects(renewed, set(), first, QUIET)
    assert dead(renewed, later, QUIET) == ()
    assert dead(renewed, suspects(renewed, set(), later, 2 * QUIET), 2 * QUIET) == renewed


def test_a_lease_for_a_further_segment_is_its_holders() -> None:
    further = Lease(metadata=Meta(name="n1.rack-1", resource_version="1"), spec=LeaseSpec(holder_identity="n1"))
    assert suspects((further,), {"n1"}, {}, 0) == {}
    assert list(suspects((further,), {"n2"}, {}, 0)) == ["n1.rack-1"]


def test_a_node_that_comes_back_is_no_suspect() -> None:
    first = suspects((lease("n2"),), set(), {}, 0)
    assert suspects((lease("n2"),), {"n2"}, first, QUIET) == {}
