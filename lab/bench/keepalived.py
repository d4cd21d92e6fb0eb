"""keepalived on every node of a lab: two VIPs on the data segment, VRRPv3, adverts once a second and ten times."""

import os
import signal
from pathlib import Path

from lab.cluster import Lab
from lab.probes import ClaimProbe
from lab.run import Process, run, wait_for

SLOW, FAST = "10.60.0.190", "10.60.0.191"  # adverts each 1 s and each 0.1 s
ADVERTS = {SLOW: ("1", 51), FAST: ("0.1", 52)}  # seconds, virtual router id
FIRST = 254  # priority of the master, then one less each: high ones take over soonest (RFC 5798, skew time)

INSTANCE = """vrrp_instance v{router} {{
  state BACKUP
  interface data
  virtual_router_id {router}
  priority {priority}
  advert_int {every}
  virtual_ipaddress {{
    {address}/32 dev data
  }}
}}
"""


def configuration(node: str, priority: int) -> str:
    """keepalived.conf(5) of one node."""
    instances = [
        INSTANCE.format(router=router, priority=priority, every=every, address=address)
        for address, (every, router) in ADVERTS.items()
    ]
    return f"global_defs {{\n  router_id {node}\n  vrrp_version 3\n}}\n" + "".join(instances)


class Keepalived:
    """One on each node of *lab*."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.running: dict[str, Process] = {}

    def start(self, master: str, claims: ClaimProbe) -> None:
        """Start it everywhere, and return when *master* claims both VIPs."""
        for number, node in enumerate([master, *(name for name in self.lab.nodes if name != master)]):
            file = self.lab.nodes[node].work / "keepalived.conf"
            file.write_text(configuration(node, FIRST - number))
            flags = ["--dont-fork", "--log-console", f"--use-file={file}", "--pid=/run/keepalived.pid"]
            flags += ["--vrrp_pid=/run/keepalived-vrrp.pid"]
            self.running[node] = self.lab.nodes[node].start("keepalived", "keepalived", *flags)
        wait_for("keepalived's master has both VIPs", lambda: self._holds(master, claims), 20, every=0.1)

    @staticmethod
    def _holds(node: str, claims: ClaimProbe) -> bool:
        heard = claims.recording()
        return all(heard.holder(address) == f"{node}-data" for address in ADVERTS)

    def sigkill(self, node: str) -> None:
        """Kill parent and child, so that neither can say good-bye nor start the other again."""
        parent = self.running.pop(node)
        parent.sigstop()
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        parent.sigkill()

    def stop(self) -> None:
        """End it everywhere, and take away what killed ones left on their nodes."""
        for process in self.running.values():
            if process.running:
                process.stop()
        self.running.clear()
        for name, node in self.lab.nodes.items():
            if node.powered:
                for address in ADVERTS:
                    if f"{address}/32" in self.lab.run_in(name, "ip", "address", "show", "dev", "data"):
                        run(node.command("ip", "address", "delete", f"{address}/32", "dev", "data"))
