"""Opens a lab with Roost running in it, and a shell inside, for trying things by hand (``make lab``)."""

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from lab import build, console, debian, isolate, manifests
from lab.api import ApiError
from lab.cluster import Lab
from lab.network import STATIONS
from lab.probe import python_environment
from lab.rack import MOST_NODES
from lab.run import LabError

POOL = {
    "apiVersion": "roost.dev/v1alpha1",
    "kind": "AddressPool",
    "metadata": {"name": "lab"},
    "spec": {"addresses": ["10.60.0.200-10.60.0.249", "fd60::200-fd60::249"]},
}
PLACES = (*STATIONS, "switch", "control")  # where commands can be run, besides the nodes

BANNER = """
{nodes} nodes, a control plane, a client and a gateway. kubectl works; everything vanishes when this shell ends.

  kubectl create service loadbalancer web --tcp=80:8080       a Service over the pods web-1, web-2, …
  kubectl get svc,rvip,rseg · roost status
  n1 ip address · client curl http://10.60.0.200              run something on a node, or at the client
  power_off n1 · power_on n1 · link_down n1 · link_up n1 · api_cut n1 · api_heal n1      break and mend
  sigkill n1 · sigstop n1 · sigcont n1 · sigterm n1 · start_agent n1                     the agent on n1
  verbs                                                       all of these, and where else to run things
  tail -f $LOGS/n1/nodeagent.log                              the logs: ls $LOGS $LOGS/*
"""


def roost_exists() -> bool:
    """Whether this checkout has both programs and the chart."""
    programs = all(find_spec(name) and find_spec(f"{name}.__main__") for name in ("cloudprovider", "nodeagent"))
    return programs and (manifests.CHART / "Chart.yaml").exists()


def start_roost(lab: Lab) -> None:
    """Install the chart's manifests, give it addresses, and start both programs."""
    lab.install()
    lab.apply(POOL)
    lab.start_controller()
    for node in lab.nodes:
        lab.start_agent(node)


def write_functions(lab: Lab, socket: Path) -> Path:
    """The shell's start file: a function per place and per verb."""
    on_node = 'nsenter --target="$(cat {pid})" --net --mount --wd=. -- "$@"'
    lines = [f"{name}() {{ {on_node.format(pid=node.pid_file)}; }}" for name, node in lab.nodes.items()]
    lines += [f'{name}() {{ ip netns exec {name} "$@"; }}' for name in PLACES]
    lines += [f'{name}() {{ {sys.executable} -m lab.console {socket} {name} "$@"; }}' for name in console.VERBS]
    listed = [f"{name} {arguments}".rstrip() for name, (arguments, _) in console.VERBS.items()]
    places = [f"{name} COMMAND…" for name in (*lab.nodes, *PLACES)]
    lines += ["verbs() { cat <<'END'", *listed, *places, "END", "}", r"PS1='(lab) \w\$ '", f"LOGS={lab.work}"]
    file = lab.work / "shell"
    file.write_text("\n".join(lines) + "\n")
    return file


def shell(lab: Lab) -> int:
    """Let a person (or a script on the input) work in the lab; return the shell's status."""
    socket = lab.work / "console"
    console.listen(lab, socket)
    functions = write_functions(lab, socket)
    environment = lab.environment() | {"PYTHONPATH": python_environment()["PYTHONPATH"]}
    if sys.stdin.isatty():
        print(BANNER.format(nodes=len(lab.nodes)), flush=True)
        return subprocess.call(["bash", "--rcfile", str(functions), "-i"], env=environment)
    return subprocess.call(["bash", "-s"], env=environment | {"BASH_ENV": str(functions)})


def main() -> None:
    """``python -m lab [--nodes N] [--kube-proxy MODE] [--ipv4-only] [--bare]``."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, choices=range(1, MOST_NODES + 1), metavar="N")
    parser.add_argument("--kube-proxy", default="nftables", choices=["nftables", "iptables"])
    parser.add_argument("--ipv4-only", action="store_true", help="no IPv6 anywhere")
    parser.add_argument("--bare", action="store_true", help="the cluster alone, without Roost")
    options = parser.parse_args()
    try:
        debian.ensure()
        build.ensure()
        isolate.enter()
        print("starting the lab …", file=sys.stderr, flush=True)
        with Lab(options.nodes, ipv6=not options.ipv4_only, kube_proxy=options.kube_proxy) as lab:
            if not options.bare and roost_exists():
                start_roost(lab)
            for number, node in enumerate(lab.nodes, 1):
                lab.add_backend(f"web-{number}", node)
            status = shell(lab)
    except (LabError, ApiError, build.BuildError, debian.MissingError) as error:
        sys.exit(f"error: {error}")
    sys.exit(status)


if __name__ == "__main__":
    main()
