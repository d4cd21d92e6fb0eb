"""A lab by hand: the driver listens on a socket for verbs, and the shell inside the lab sends them."""

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from lab.api import ApiError
from lab.cluster import Lab
from lab.run import LabError, Process


def _agent(lab: Lab, node: str) -> Process:
    if node not in lab.agents:
        raise LabError(f"no agent was started on {node}")
    return lab.agents[node]


Verb = Callable[..., object]

VERBS: dict[str, tuple[str, Verb]] = {
    "power_off": ("NODE", lambda lab, node: lab.power_off(node)),
    "power_on": ("NODE", lambda lab, node: lab.power_on(node)),
    "link_down": ("NODE [data|mgmt] [switch|node]", lambda lab, *words: lab.link_down(*words)),
    "link_up": ("NODE [data|mgmt] [switch|node]", lambda lab, *words: lab.link_up(*words)),
    "api_cut": ("NODE", lambda lab, node: lab.api_cut(node)),
    "api_heal": ("NODE", lambda lab, node: lab.api_heal(node)),
    "api_outage": ("", lambda lab: lab.api_outage()),
    "api_back": ("", lambda lab: lab.api_back()),
    "start_agent": ("NODE [FLAG…]", lambda lab, *words: lab.start_agent(*words)),
    "sigterm": ("NODE (its agent)", lambda lab, node: _agent(lab, node).sigterm()),
    "sigkill": ("NODE (its agent)", lambda lab, node: _agent(lab, node).sigkill()),
    "sigstop": ("NODE (its agent)", lambda lab, node: _agent(lab, node).sigstop()),
    "sigcont": ("NODE (its agent)", lambda lab, node: _agent(lab, node).sigcont()),
    "add_backend": ("NAME NODE", lambda lab, name, node: lab.add_backend(name, node)),
    "remove_backend": ("NAME", lambda lab, name: lab.remove_backend(name)),
    "add_router": (
        "frr|bird (AS 64512; vtysh -N frr, birdc -s /run/bird/bird/bird.ctl)",
        lambda lab, kind: lab.add_router(kind),
    ),
    "start_keeper": (
        "NODE [3|4] (GoBGP, of that version)",
        lambda lab, node, version="3": lab.start_keeper(node, int(version)),
    ),
}


def say(lab: Lab, line: str) -> str:
    """Do what *line* says, and return what went wrong, or nothing."""
    name, *words = line.split()
    if name not in VERBS:
        return f"no such verb: {name}"
    arguments, verb = VERBS[name]
    try:
        verb(lab, *words)
    except (LabError, ApiError, ValueError) as error:
        return str(error)
    except KeyError as error:
        return f"no such thing in this lab: {error}"
    except TypeError:
        return f"usage: {name} {arguments}"
    return ""


def listen(lab: Lab, path: Path) -> None:
    """Serve verbs at the socket *path* in a thread of its own, one after the other, for as long as the driver lives."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(say(lab, connection.recv(4096).decode()).encode())

    threading.Thread(target=serve, name="console", daemon=True).start()


def main() -> None:
    """``python -m lab.console SOCKET VERB…``: what the shell's functions call."""
    path, *words = sys.argv[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        connection.sendall(" ".join(words).encode())
        answer = connection.makefile().read()
    if answer:
        sys.exit(f"error: {answer}")


if __name__ == "__main__":
    main()
