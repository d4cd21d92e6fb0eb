"""Two data networks on every node, and no hellos: each seat is fed by a Lease of its own."""

from lab.cluster import Lab
from tests.lab.two_wires import NODES, TABLES, opened

LEASES = "/apis/coordination.k8s.io/v1/namespaces/roost-node-lease/leases"


def test_without_hellos_each_seat_has_a_lease_of_its_own() -> None:
    with Lab(nodes=3, second=True, witnesses=False) as lab:
        lab.install()
        for world in opened(lab):
            found = {row["metadata"]["name"]: row["metadata"]["annotations"] for row in lab.admin.items(LEASES)}
            for node in NODES:
                further = [f"{node}.{table}" for table in TABLES.values()]
                ours = {found[name]["roost.dev/segment"]: name for name in (node, *further) if name in found}
                assert ours.keys() == set(TABLES.values())
                assert node in ours.values()
            world.power_off()
            assert not any("WriteRefused" in agent.log_file.read_text() for agent in lab.agents.values())
