"""The pulse's hand on the permit: the kernel is asked only where it changes something, and believed when it refuses."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from nodeagent.gate.fake import FakePermits
from nodeagent.gate.plan import MOMENT_MS
from nodeagent.model import Done, News, Orders, Until
from nodeagent.pulse.apply import CLOSE_ENOUGH, TOUCHED, Beat, Permission
from nodeagent.pulse.plan import Send, Tick, start

DEVICE = "eth0"


@dataclass
class Kernel:
    """A kernel with one gate, and a clock; what it was asked is in *asked*."""

    now: float = 1000.0
    stands: bool = True
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.permits = FakePermits(lambda: self.now, lambda: self.stands)

    def feed(self, device: str, deadline: float, clock: Callable[[], float], *, anew: bool = True) -> bool:
        self.asked.append("feed")
        if not self.stands:
            self.permits.revoke(device)  # raises NoGate
        return self.permits.feed(device, deadline, clock, anew=anew)

    def revoke(self, device: str) -> None:
        self.asked.append("revoke")
        self.permits.revoke(device)

    def left(self, device: str) -> int | None:
        return self.permits.left(device)

    def permission(self) -> Permission:
        return Permission(self, DEVICE, lambda: self.now)


def ends_in_time(permission: Permission, deadline: float) -> bool:
    """At its deadline, or no more than a moment before."""
    return 0 <= deadline - permission.until() <= (MOMENT_MS + 1) / 1000


@pytest.mark.parametrize(
    ("after", "moved", "asked"),
    [
        pytest.param(0.1, 0.0, [], id="the same deadline"),
        pytest.param(0.1, CLOSE_ENOUGH / 2, [], id="a little later"),
        pytest.param(0.1, -CLOSE_ENOUGH / 2, ["feed"], id="a little sooner"),
        pytest.param(0.1, 0.1, ["feed"], id="later"),
        pytest.param(TOUCHED, 0.0, ["feed"], id="the same, but somebody may have taken it away meanwhile"),
        pytest.param(0.1, None, ["revoke"], id="now"),
    ],
)
def test_when_the_kernel_is_asked(after: float, moved: float | None, asked: list[str]) -> None:
    kernel = Kernel()
    permission = kernel.permission()
    deadline = kernel.now + 5.0
    assert permission.end(deadline)
    kernel.asked.clear()
    kernel.now += after
    assert permission.end(None if moved is None else deadline + moved)
    assert kernel.asked == asked


def test_no_permit_is_asked_for_once() -> None:
    kernel = Kernel()
    permission = kernel.permission()
    for _ in range(3):
        assert permission.end(None)
    assert kernel.asked == ["revoke"]


def test_a_permit_that_lapsed_is_not_taken_for_one_that_stands() -> None:
    kernel = Kernel()
    permission = kernel.permission()
    permission.end(kernel.now + 0.1)
    kernel.now += 0.2
    assert permission.until() == 0.0
    assert permission.end(kernel.now - 0.1 + CLOSE_ENOUGH / 2)
    assert permission.end(kernel.now + 1.0)
    assert ends_in_time(permission, kernel.now + 1.0)


def test_a_permit_is_not_made_again_where_it_must_not_be() -> None:
    kernel = Kernel()
    permission = kernel.permission()
    assert permission.end(kernel.now + 1.0, anew=False)
    assert permission.until() == 0.0


def test_what_the_kernel_refuses_is_said_tried_again_and_done_only_then() -> None:
    kernel, told = Kernel(), list[News]()
    sent = list[Send]()
    beat = Beat(start("n1", 1, kernel.now), kernel.permission(), sent.append, told.append)
    kernel.stands = False
    beat.happen(kernel.now, Orders(1, tenure=1, rules=(Until(kernel.now + 5),)))
    assert told == []
    assert "no gate" in beat.permission.trouble
    kernel.now += 0.1
    beat.happen(kernel.now, Tick())
    assert told == []
    kernel.stands = True
    kernel.now += 0.1
    beat.happen(kernel.now, Tick())
    assert told == [Done(1)]
    assert beat.permission.trouble == ""
    assert ends_in_time(beat.permission, 1005.0)


def test_without_a_gate_there_is_no_permit_to_end() -> None:
    kernel, told = Kernel(stands=False), list[News]()
    beat = Beat(start("n1", 1, kernel.now), kernel.permission(), lambda _: None, told.append)
    beat.happen(kernel.now, Orders(1))
    assert told == [Done(1)]
