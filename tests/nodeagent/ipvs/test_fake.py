"""The balancer is kept in memory as it is in the kernel; and what only a stubborn far side shows."""

import errno
from dataclasses import replace
from ipaddress import ip_address

import pytest

from nodeagent.ipvs.checks import Checked
from nodeagent.ipvs.fake import FakeKernel
from nodeagent.ipvs.health import State, Verdict
from nodeagent.ipvs.plan import CONNTRACK
from nodeagent.ipvs.settings import Scheduler
from nodeagent.ipvs.values import AddService, Place, PutTable, Seen, Service, SetSysctl, Table
from tests.nodeagent.ipvs.contract import NODES, PORT, VIP4, VIP6, IpvsContract, Stage, kept, services, shortened


@pytest.fixture
def kernel() -> FakeKernel:
    made = FakeKernel()
    made.listening |= {Place(address, PORT) for addresses in NODES for address in addresses}
    return made


@pytest.fixture
def stage(kernel: FakeKernel) -> Stage:
    def make(place: Place) -> None:
        kernel.put(Seen(Service(place, Scheduler.RR, frozenset()), ours=False))

    return Stage(
        lambda: kernel,
        kernel.ask,
        lambda: {seen.service for seen in kernel.have.services.values()},
        lambda: kernel.have.table != Table(),
        lambda name: kernel.have.sysctls[name] or "",
        make,
        kernel.drop,
        kernel.listening.add,
        kernel.listening.discard,
    )


class TestIpvsInMemory(IpvsContract):
    pass


async def test_a_kernel_without_ipvs_is_told_with_the_remedy(kernel: FakeKernel, stage: Stage) -> None:
    kernel.missing = True
    async with kept(stage) as keeper:
        await keeper.when(lambda: keeper.ipvs.settled)
        assert not keeper.ipvs.problems  # nothing is wanted of it
        keeper.ipvs.want(services(VIP4), complete=True)
        await keeper.when(lambda: VIP4 in keeper.ipvs.problems)
        assert "modprobe ip_vs" in keeper.ipvs.problems[VIP4]
        kernel.missing = False
        await keeper.when(lambda: stage.shown() == services(VIP4) and not keeper.ipvs.problems)


@pytest.mark.parametrize("step", [PutTable, SetSysctl])
async def test_where_nothing_can_be_masqueraded_the_nodes_own_server_is_used(
    kernel: FakeKernel, stage: Stage, step: type[PutTable | SetSysctl]
) -> None:
    kernel.refused[step] = errno.EROFS
    (service,) = services(VIP4)
    async with kept(stage) as keeper:
        await keeper.want({service})
        assert stage.shown() == {shortened(service, NODES[1][0], NODES[2][0])}
        assert "EROFS" in keeper.ipvs.problems[VIP4]
        kernel.refused.clear()
        await keeper.when(lambda: stage.shown() == {service} and not keeper.ipvs.problems)


async def test_a_kernel_that_tracks_no_balanced_connections_uses_the_nodes_own_server(
    kernel: FakeKernel, stage: Stage
) -> None:
    kernel.have = replace(kernel.have, sysctls={**kernel.have.sysctls, CONNTRACK: None})
    (service,) = services(VIP4)
    async with kept(stage) as keeper:
        await keeper.want({service})
        assert stage.shown() == {shortened(service, NODES[1][0], NODES[2][0])}
        assert "CONFIG_IP_VS_NFCT" in keeper.ipvs.problems[VIP4]


async def test_a_scheduler_that_the_kernel_lacks_is_told(kernel: FakeKernel, stage: Stage) -> None:
    kernel.refused[AddService] = errno.ENOENT
    async with kept(stage) as keeper:
        await keeper.want(services(VIP6))
        assert "modprobe ip_vs_rr" in keeper.ipvs.problems[VIP6]


async def test_kube_proxy_that_takes_our_service_away_is_named_with_the_remedy(
    kernel: FakeKernel, stage: Stage
) -> None:
    kernel.have = replace(kernel.have, kube_proxy=True)
    kernel.put(Seen(Service(Place(ip_address("10.96.0.1"), 443), Scheduler.RR, frozenset()), ours=False))
    async with kept(stage) as keeper:
        await keeper.want(services(VIP4))
        kernel.drop(Place(VIP4, PORT))
        await keeper.when(lambda: VIP4 in keeper.ipvs.problems)
        assert "ipvs.excludeCIDRs" in keeper.ipvs.problems[VIP4]
        await keeper.when(lambda: services(VIP4) <= stage.shown())


async def test_a_server_that_hangs_is_taken_out_after_several_failures_and_one_is_not_enough(
    kernel: FakeKernel, stage: Stage
) -> None:
    (service,) = services(VIP4)
    slow = Place(NODES[2][0], PORT)
    async with kept(stage) as keeper:
        await keeper.want({service})
        await keeper.when(lambda: len(keeper.ipvs.healths) == 3)
        kernel.verdicts[slow] = Checked(Verdict.FAILED, "no answer within 1 s")
        await keeper.when(lambda: keeper.ipvs.healths[slow].streak == 1)
        assert keeper.ipvs.healths[slow].state == State.UP
        await keeper.when(lambda: stage.shown() == {shortened(service, slow.address)})


async def test_connections_keep_a_backend_until_they_had_their_time(kernel: FakeKernel, stage: Stage) -> None:
    (service,) = services(VIP4)
    dead = Place(NODES[1][0], PORT)
    async with kept(stage) as keeper:
        await keeper.want({service})
        seen = kernel.have.services[service.place]
        kernel.put(replace(seen, active={dead: 3}))
        stage.fall_silent(dead)
        await keeper.when(
            lambda: any(one.place == dead and one.weight == 0 for each in stage.shown() for one in each.backends)
        )
        await keeper.when(lambda: stage.shown() == {shortened(service, dead.address)})
