"""Verbs of faults: what is done to links, to the segment, to the API server and to the table in it."""

from http import HTTPStatus

from lab.api import ApiError, Json
from lab.claims import Kind
from lab.fault_runs.scene import FOREIGN, LEASES, NODEAGENTS, SERVICES, VIPS, VIRTUALIPS, Scene, service
from lab.programs import SEGMENT
from lab.run import LabError, wait_for
from roost.words import ADDRESSES

FLOOD = 0.02  # seconds between two rounds of forged claims
DEFENCES = 3  # announcements of the holder that must be heard amid such a flood
SLOW = 0.3  # seconds that a request takes more
EDITS = 10  # attempts to write the table between two writes of the agents
CLAIMED = 15.0  # seconds until an address is claimed that a stranger had
CONFLICT = "AddressConflict"

# -- links and the segment


def link_down(scene: Scene, node: str) -> None:
    scene.lab.link_down(node)


def link_down_at_the_node(scene: Scene, node: str) -> None:
    scene.lab.link_down(node, side="node")


def link_up(scene: Scene, node: str) -> None:
    scene.lab.link_up(node)


def link_up_at_the_node(scene: Scene, node: str) -> None:
    scene.lab.link_up(node, side="node")


def sent_is_lost(scene: Scene, node: str) -> None:
    scene.lab.lose(node, "sent")


def received_is_lost(scene: Scene, node: str) -> None:
    scene.lab.lose(node, "received")


def nothing_is_lost(scene: Scene, node: str) -> None:
    scene.lab.lose_nothing(node)


def cut_off(scene: Scene, node: str) -> None:
    """Behind the port of the switch, so that the carrier stays."""
    scene.lab.split(node)


def split_with_another(scene: Scene, node: str) -> None:
    """The holder and one other node here; client, gateway and all other nodes there."""
    scene.lab.split(node, next(name for name in scene.lab.nodes if name != node))


def split_with_the_client(scene: Scene, node: str) -> None:
    """The holder, client and gateway here; all other nodes there."""
    scene.lab.split(*(name for name in scene.lab.nodes if name != node))


def heal_split(scene: Scene, _node: str) -> None:
    scene.lab.heal_split()


def gateway_down(scene: Scene, _node: str) -> None:
    scene.lab.link_down("gateway")


def gateway_up(scene: Scene, _node: str) -> None:
    scene.lab.link_up("gateway")


# -- strangers


def stranger_owns(scene: Scene, _node: str) -> None:
    """A machine that is none of ours has two addresses of the pool; then a Service asks for them."""
    scene.lab.stranger_comes(*FOREIGN)
    body = service("foreign")
    body["metadata"]["annotations"] = {ADDRESSES: ",".join(FOREIGN)}
    scene.lab.api("POST", SERVICES, body)


def stranger_respected(scene: Scene, _node: str) -> list[str]:
    """Nobody of ours claims what a stranger has, and it is said why."""
    claims = scene.ours()
    found = [f"{vip} is claimed though a stranger has it" for vip in FOREIGN if claims.of_vip(vip).claims]
    said = str(scene.lab.admin.items(NODEAGENTS)) + str(scene.lab.admin.items(VIRTUALIPS))
    return [*found, *([] if CONFLICT in said else [f"nobody says {CONFLICT}"])]


def stranger_goes(scene: Scene, _node: str) -> None:
    """The stranger goes; the addresses are claimed then, and the Service goes too. Raises LabError."""
    scene.lab.stranger_goes()
    try:
        wait_for(
            "what the stranger had is claimed",
            lambda: all(scene.ours().of_vip(vip).claims for vip in FOREIGN),
            CLAIMED,
            every=0.1,
        )
    finally:
        scene.lab.api("DELETE", f"{SERVICES}/foreign")
        wait_for("the Service is gone", lambda: scene.lab.admin.find(f"{SERVICES}/foreign") is None, every=0.1)


def flood(scene: Scene, _node: str) -> None:
    """A stranger says over and over that the VIPs are at its own MAC."""
    scene.lab.stranger_comes()
    scene.lab.stranger_forges(*VIPS.values(), every=FLOOD)


def flood_ends(scene: Scene, _node: str) -> None:
    scene.lab.stranger_goes()


def defended(scene: Scene, node: str) -> list[str]:
    """The holder goes on announcing while another claims."""
    heard = [
        claim
        for claim in scene.ours().of_vip(VIPS[4]).claims
        if claim.port == f"{node}-data" and claim.kind in (Kind.GRATUITOUS_REQUEST, Kind.GRATUITOUS_REPLY)
    ]
    return [] if len(heard) >= DEFENCES else [f"the holder announced {len(heard)} times amid the flood"]


# -- the API server


def api_cut(scene: Scene, node: str) -> None:
    scene.lab.api_cut(node)


def api_heal(scene: Scene, node: str) -> None:
    scene.lab.api_heal(node)


def api_hangs(scene: Scene, _node: str) -> None:
    scene.lab.api_outage()


def api_dies(scene: Scene, _node: str) -> None:
    scene.lab.api_outage(kill=True)


def api_back(scene: Scene, _node: str) -> None:
    scene.lab.api_back()


def api_slow(scene: Scene, _node: str) -> None:
    scene.lab.api_slow(delay=SLOW)


def api_prompt(scene: Scene, _node: str) -> None:
    scene.lab.api_prompt()


# -- Leases and the table


def lease_deleted(scene: Scene, node: str) -> None:
    """Witnessed nodes need not have one."""
    try:
        scene.lab.api("DELETE", f"{LEASES}/{node}")
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def lease_edited(scene: Scene, node: str) -> None:
    """Somebody else's name in it, another tenure, and a time long ago; made if the node has none."""
    spec = {"holderIdentity": "somebody", "leaseDurationSeconds": 6, "renewTime": "2001-01-01T00:00:00.000000Z"}
    metadata = {"annotations": {"roost.dev/tenure": "1"}}
    if scene.lab.admin.find(f"{LEASES}/{node}") is not None:
        scene.lab.api("PATCH", f"{LEASES}/{node}", {"metadata": metadata, "spec": spec})
    else:
        scene.lab.api("POST", LEASES, {"metadata": {"name": node, **metadata}, "spec": spec})


def table_deleted(scene: Scene, _node: str) -> None:
    scene.lab.api("DELETE", SEGMENT)


def table_edited(scene: Scene, node: str) -> None:
    """Give the group to another live seat by hand, as ``kubectl edit --subresource=status`` would. Raises LabError."""
    for _ in range(EDITS):
        table = scene.lab.api("GET", SEGMENT)
        _move(table["status"], {scene.groups[vip] for vip in VIPS.values()}, node)
        try:
            scene.lab.api("PUT", f"{SEGMENT}/status", table)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        else:
            return
    raise LabError(f"the table was written by others {EDITS} times in between")


def _move(status: Json, groups: set[str], node: str) -> None:
    heir = next(seat for seat in status["seats"] if seat["node"] != node and seat["state"] == "Live")
    status["revision"] += 1
    for row in status["groups"]:
        if row["name"] in groups:
            row["tenure"], row["epoch"] = heir["tenure"], row["epoch"] + 1
