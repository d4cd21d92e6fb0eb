"""Whether a node of a lab hears another on a UDP port of the data segment."""

import sys
import time

from lab.cluster import Lab
from lab.run import wait_for

PATIENCE = 1.0  # seconds
SAY = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"hello", (sys.argv[1], int(sys.argv[2])))
"""
HEAR = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hearer:
    hearer.bind(("", int(sys.argv[1])))
    hearer.settimeout(float(sys.argv[2]))
    print("ready", flush=True)
    try: print(hearer.recv(100).decode())
    except TimeoutError: print("nothing")
"""


def heard(lab: Lab, speaker: str, hearer: str, port: int = 9999) -> str:
    """What *hearer* hears of *speaker* on *port*: "hello" or "nothing"."""
    command = (sys.executable, "-c", HEAR, str(port), str(PATIENCE))
    listening = lab.nodes[hearer].start(f"hear-{time.monotonic_ns()}", *command)
    wait_for("it listens", lambda: "ready" in listening.log())
    lab.run_in(speaker, sys.executable, "-c", SAY, str(lab.nodes[hearer].leg("data").address4), str(port))
    listening.wait()
    return listening.log().split()[-1]
