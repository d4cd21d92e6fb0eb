"""What of the objects that an agent follows is worth a word of its own."""

import asyncio
from dataclasses import dataclass

import msgspec
import pytest

from nodeagent.flow import end, only_told
from roost.kube.wire import Claim, Meta, VirtualIP, VirtualIPSpec, VirtualIPStatus

VIP = VirtualIP(
    metadata=Meta(name="10.60.0.200", resource_version="7"),
    spec=VirtualIPSpec(
        address="10.60.0.200", pool_name="p", group="g", claims=(Claim(namespace="default", name="web", uid="u"),)
    ),
)
TOLD = msgspec.structs.replace(
    VIP, metadata=Meta(name="10.60.0.200", resource_version="9"), status=VirtualIPStatus(holder="n1")
)


def but(vip: VirtualIP, **spec: object) -> VirtualIP:
    return msgspec.structs.replace(vip, spec=msgspec.structs.replace(vip.spec, **spec))


@dataclass(frozen=True, slots=True)
class Case:
    old: VirtualIP | None
    new: VirtualIP | None
    only: bool


RESERVED = (Claim(namespace="default", name="web"),)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(VIP, TOLD, True), id="a status is nothing to apply"),
        pytest.param(Case(None, VIP, False), id="a new VIP is"),
        pytest.param(Case(VIP, None, False), id="one that is gone is"),
        pytest.param(Case(VIP, but(TOLD, group="h"), False), id="another group is"),
        pytest.param(Case(but(VIP, group=""), but(TOLD, group=""), False), id="every version of one without a group"),
        pytest.param(
            Case(but(VIP, claims=RESERVED), but(TOLD, claims=RESERVED), False), id="every version of one that rests"
        ),
        pytest.param(
            Case(
                VIP, msgspec.structs.replace(VIP, metadata=Meta(name="10.60.0.200", deletion_timestamp="2026")), False
            ),
            id="one that is being deleted",
        ),
    ],
)
def test_only_what_is_to_be_applied_counts(case: Case) -> None:
    assert only_told(case.old, case.new) is case.only


async def test_what_swallows_its_cancellation_is_cancelled_again() -> None:
    told = 0

    async def deaf() -> None:
        nonlocal told
        while told < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told += 1

    task = asyncio.ensure_future(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end([task])
    assert (task.done(), told) == (True, 2)
