"""What links and addresses do, those in memory and those in the kernel."""

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from nodeagent.addresses.apply import Addresses
from nodeagent.addresses.fake import FakeAddresses
from nodeagent.addresses.plan import MARK, Add, Address, Done, Failed, Placed, Present, Refresh, Remove, named, steps

DEVICE = "uplink"
VIPS = [ip_address("10.1.0.100"), ip_address("fd01::100")]


@dataclass
class Stage:
    """A node with the link `uplink`, on which VIPs live for two seconds, and ways to let time pass and to route."""

    addresses: Addresses | FakeAddresses
    wait: Callable[[float], None]
    route: Callable[[str], None]  # by this gateway over the uplink, to everywhere

    async def ours(self) -> set[Present]:
        return {present for present in await self.addresses.present() if present.mark == MARK}


class AddressesContract:
    """Classes that inherit this give a fixture `stage`."""

    @pytest.mark.parametrize("vip", VIPS, ids=str)
    async def test_a_vip_comes_and_goes(self, stage: Stage, vip: Address) -> None:
        at = Placed(vip, DEVICE)
        assert await stage.addresses.do([Add(at)]) == (Done(Add(at)),)
        (present,) = await stage.ours()
        assert (present.at, present.prefix_length) == (at, vip.max_prefixlen)
        assert present.seconds_left is not None
        remove = Remove(at, vip.max_prefixlen)
        assert await stage.addresses.do([remove, remove]) == (Done(remove), Done(remove))
        assert await stage.ours() == set()

    @pytest.mark.parametrize("vip", VIPS, ids=str)
    async def test_a_vip_that_nobody_refreshes_goes_by_itself(self, stage: Stage, vip: Address) -> None:
        await stage.addresses.do([Add(Placed(vip, DEVICE))])
        stage.wait(1)
        await stage.addresses.do([Refresh(Placed(vip, DEVICE))])
        stage.wait(1.2)
        assert len(await stage.ours()) == 1
        stage.wait(3)  # the kernel counts whole seconds, and looks once a second
        assert await stage.ours() == set()

    async def test_one_failure_keeps_no_other_step_back(self, stage: Stage) -> None:
        here, nowhere = Placed(VIPS[0], DEVICE), Placed(VIPS[1], "missing")
        assert await stage.addresses.do([Add(here), Add(here), Add(nowhere), Remove(nowhere, 128), Refresh(here)]) == (
            Done(Add(here)),
            Failed(Add(here), errno.EEXIST),
            Failed(Add(nowhere), errno.ENODEV),
            Done(Remove(nowhere, 128)),
            Done(Refresh(here)),
        )

    async def test_the_steps_lead_to_what_is_wanted(self, stage: Stage) -> None:
        addresses = stage.addresses
        for want in ({Placed(vip, DEVICE) for vip in VIPS}, {Placed(VIPS[0], DEVICE)}, set[Placed]()):
            await addresses.do(steps(await addresses.present(), want, synced=True, settings=addresses.settings))
            assert {present.at for present in await stage.ours()} == want
            assert steps(await addresses.present(), want, synced=True, settings=addresses.settings) == ()

    async def test_a_vip_is_no_prefix_of_its_link(self, stage: Stage) -> None:
        before = named(await stage.addresses.links(), DEVICE)
        await stage.addresses.do([Add(Placed(vip, DEVICE)) for vip in VIPS])
        assert named(await stage.addresses.links(), DEVICE) == before

    async def test_several_may_look_at_once(self, stage: Stage) -> None:
        """Two uplinks do."""
        looks = await asyncio.gather(*(stage.addresses.present() for _ in range(8)))
        assert {present.at for present in looks[0]} == {present.at for look in looks for present in look}

    async def test_the_gateways_of_a_link_are_those_of_its_default_routes(self, stage: Stage) -> None:
        assert await stage.addresses.gateways(DEVICE) == ()
        for gateway in ("fd01::fe", "10.1.0.254"):
            stage.route(gateway)
        assert await stage.addresses.gateways(DEVICE) == (ip_address("10.1.0.254"), ip_address("fd01::fe"))
        assert await stage.addresses.gateways("missing") == ()
