import pytest

from kubectl_roost.status.apply import read
from kubectl_roost.status.plan import report
from roost.kube.wire import ADDRESSPOOLS, NODEAGENTS, SEGMENTS, SERVICES, VIRTUALIPS
from roost.process import Unreachable
from tests.fakes.api import FakeApi, Fault, Refuse
from tests.kubectl_roost.cluster import well


def filled() -> FakeApi:
    api = FakeApi()
    now = well()
    for vip in now.vips:
        api.put(VIRTUALIPS, vip)
    for segment in now.segments:
        api.put(SEGMENTS, segment)
    for agent in now.agents:
        api.put(NODEAGENTS, agent)
    for pool in now.pools:
        api.put(ADDRESSPOOLS, pool)
    for service in now.services:
        api.put(SERVICES, service)
    return api


async def test_everything_is_read_and_nothing_is_written() -> None:
    api = filled()
    assert report(await read(api.kube())) == report(well())
    assert api.writes() == []


async def test_a_kind_that_is_forbidden_hides_no_other() -> None:
    api = filled()
    api.fail(Refuse(403, "Forbidden"), "GET", SERVICES)
    found = report(await read(api.kube()))
    assert len(found.vips) == 2
    assert list(found.unread) == ["Service"]


async def test_a_cluster_without_our_kinds_is_told_to_apply_them() -> None:
    found = report(await read(FakeApi(served=[SERVICES]).kube()))
    assert list(found.unread) == ["VirtualIP", "Segment", "NodeAgent", "AddressPool", "BGPPeer"]
    assert all("CRD" in why for why in found.unread.values())


async def test_a_server_that_does_not_answer_is_unreachable() -> None:
    api = filled()
    api.fail(Fault.LOST, "GET", times=100)
    with pytest.raises(Unreachable):
        await read(api.kube())
