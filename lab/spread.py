"""Who answers when one client opens many connections: how routers spread them, by counting what arrives where."""

import socket
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from lab import network

PATIENCE = 1.0  # seconds for one answer
QUESTION = b"GET / HTTP/1.0\r\n\r\n"


@dataclass(slots=True)
class Spread:
    """What became of the connections."""

    backends: Counter[str] = field(default_factory=Counter)  # by the name of the pod that answered
    nodes: Counter[str] = field(default_factory=Counter)  # by the node that they came in at
    failures: list[str] = field(default_factory=list)


def spread(where: str, address: str, port: int, count: int, nodes: Mapping[str, str]) -> Spread:
    """Open *count* connections from namespace *where*, one after the other, each from a port of its own.

    *nodes*: the node by the name of each backend, and by each address that a node has when it stands in for the client
    (a Service of policy Cluster).
    """
    found = Spread()

    def ask() -> None:
        network.enter(where)
        for _ in range(count):
            try:
                name, seen = _answer(address, port)
            except OSError as error:
                found.failures.append(str(error))
                continue
            found.backends[name] += 1
            found.nodes[nodes.get(str(ip_address(seen)), nodes.get(name, ""))] += 1

    thread = threading.Thread(target=ask)  # of its own: the namespace is a thread's, and goes with it
    thread.start()
    thread.join()
    return found


def _answer(address: str, port: int) -> tuple[str, str]:
    """The pod's name, and the client as the pod saw it."""
    with socket.create_connection((address, port), PATIENCE) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(QUESTION)
        with connection.makefile("rb") as answer:
            text = answer.read().decode()
    words = text.rpartition("\r\n\r\n")[2].split()
    if len(words) != 2:  # noqa: PLR2004 - as lab.podserver writes it
        raise OSError(f"half an answer: {text!r}")
    return words[0], words[1]
