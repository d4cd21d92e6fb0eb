import json
from datetime import UTC, datetime

import msgspec
import pytest

from kubectl_roost.ages import age
from kubectl_roost.segment.plan import GroupView, Holding, SeatRow, View, Wait
from kubectl_roost.segment.text import WIDE, as_json, page

NOW = datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
THEN = "2026-01-01T00:00:00Z"


def row(node: str, tenure: int, *witnesses: str, groups: int = 64, fence: str = "", state: str = "Live") -> SeatRow:
    return SeatRow(node, tenure, "Witnessed", state, state == "Live", witnesses, groups, "eth0", fence, THEN)


VIEW = View(
    name="10.60.0.0-24",
    profile="Default",
    when_cut_off="Hold",
    revision=412,
    seats=(
        row("node-1", 7, "node-2", "node-4"),
        row("node-2", 8, "node-1", "node-4"),
        row("node-3", 5, "node-1", "node-2", "node-4", groups=0, state="Gone"),
        row("node-4", 9, "node-1", "node-2", groups=0, fence="kernel before 5.16"),
    ),
    holdings=(Holding("node-1", 7, 64, 70, {"node-2": 20, "node-4": 44}), Holding("node-2", 8, 64, 1, {})),
    waits=(
        Wait(
            ("b-1-1", "b-1-2", "b-1-3", "b-1-4"), "node-2", 5, "node-3", "Witnessed", 2, ("node-1", "node-2", "node-4")
        ),
        Wait(("b-1-9",), "node-1", 4, "node-4", "Resting", 0, ()),
    ),
    vacant=1,
)

DRAWN = """\
Segment 10.60.0.0-24: profile Default, when cut off Hold, revision 412
3 of 4 seats live, 129 groups, 1 vacant

NODE     TENURE   MODE        STATE   ELIGIBLE   WITNESSES                GROUPS   INTERFACE   SINCE
node-1   7        Witnessed   Live    yes        node-2, node-4           64       eth0        2m
node-2   8        Witnessed   Live    yes        node-1, node-4           64       eth0        2m
node-3   5        Witnessed   Gone    no         node-1, node-2, node-4   0        eth0        2m
node-4   9        Witnessed   Live    yes        node-1, node-2           0        eth0        2m

Who holds what, and who would get it if that node died now
HOLDER   TENURE   GROUPS   VIPS   HEIRS
node-1   7        64       70     node-2 20, node-4 44
node-2   8        64       1      nobody

Not claimed yet: a former holder is outwaited first
HOLDER   GROUPS                           OUTWAITS            UNTIL
node-2   b-1-1, b-1-2, b-1-3 and 1 more   tenure 5 (node-3)   2 of 3 say gone: node-1, node-2, node-4
node-1   b-1-9                            tenure 4 (node-4)   its rest has run out

The gate of these nodes does not keep everything back
node-4: kernel before 5.16"""

GROUP = GroupView(
    segment="10.60.0.0-24",
    name="b-1-7",
    vips=("192.0.2.7", "2001:db8::7"),
    services=("shop/web",),
    holder="node-2",
    tenure=8,
    epoch=7,
    since=THEN,
    waits=(Wait(("b-1-7",), "node-2", 5, "node-3", "Witnessed", 2, ("node-1", "node-2")),),
    next=("node-4", "node-1"),
    not_eligible=("cp-1",),
)

ONE = """\
Group b-1-7 on segment 10.60.0.0-24
VIPs          192.0.2.7, 2001:db8::7
Services      shop/web
Holder        node-2, tenure 8, epoch 7, since 2m
Waits for     tenure 5 (node-3): until both say gone: node-1, node-2
Next          node-4, node-1 (the first that may hold it and is not crowded)
Not eligible  cp-1"""


def test_a_segment_is_drawn() -> None:
    assert page((VIEW,), NOW) == DRAWN


def test_a_group_is_drawn() -> None:
    assert page((GROUP,), NOW) == ONE


def test_several_are_drawn_one_below_the_other() -> None:
    assert page((GROUP, GROUP), NOW) == f"{ONE}\n\n{ONE}"


def test_a_segment_without_a_table_says_so() -> None:
    bare = View("10.60.0.0-24", "Default", "Hold", 0, (), (), (), 0)
    assert page((bare,), NOW).splitlines()[1] == "no table: no agent has sat down yet"


def test_long_names_are_cut_so_that_a_line_stays_narrow() -> None:
    names = [f"worker-{number}.rack-17.datacentre-west.example.org" for number in range(4)]
    long = View("s", "Default", "Hold", 1, (row(names[0], 1, *names[1:]),), (Holding(names[0], 1, 1, 1, {}),), (), 0)
    lines = page((long,), NOW).splitlines()
    assert max(map(len, lines)) <= WIDE
    assert any(line.startswith("worker-0.rack-17") for line in lines)


def test_every_character_is_as_wide_as_any_other() -> None:
    assert (page((VIEW,), NOW) + page((GROUP,), NOW)).isascii()


def test_json_has_it_all() -> None:
    (view,) = json.loads(as_json((VIEW,)))
    assert [seat["node"] for seat in view["seats"]] == ["node-1", "node-2", "node-3", "node-4"]
    assert view["holdings"][0]["heirs"] == {"node-2": 20, "node-4": 44}
    assert msgspec.convert(json.loads(as_json((GROUP,))), list[GroupView]) == [GROUP]


@pytest.mark.parametrize(
    ("since", "shown"),
    [
        ("", ""),
        ("2026-01-01T00:01:51Z", "9s"),
        ("2026-01-01T00:00:01Z", "119s"),
        ("2026-01-01T00:00:00Z", "2m"),
        ("2025-12-31T12:00:00Z", "12h"),
        ("2025-12-20T00:00:00Z", "12d"),
        ("2026-01-01T00:03:00Z", "0s"),
    ],
)
def test_how_long_ago(since: str, shown: str) -> None:
    assert age(since, NOW) == shown
