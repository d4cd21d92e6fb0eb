"""The backends of all pods in one small process: each answers HTTP and UDP with its name and the client's address.

It reads commands from its input, one JSON object a line, and answers each with a line: {"add": key, "name": …, "netns":
…, "port": …, "families": [4, 6]} opens a pod's sockets inside that namespace, {"remove": key} closes them.
"""

import json
import os
import selectors
import socket
import sys
from collections.abc import Callable
from typing import Any

from lab import network

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"

_families = {4: socket.AF_INET, 6: socket.AF_INET6}


class Pods:
    """Open sockets by pod name, and the one loop that serves them."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.listening: dict[str, list[socket.socket]] = {}
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)

    def add(self, key: str, name: str, netns: str, port: int, families: list[int]) -> None:
        """A socket stays in the namespace it was made in, whatever its process does later."""
        sockets = self.listening.setdefault(key, [])
        try:
            network.enter(netns)
            for family in families:
                for kind, serve in ((socket.SOCK_STREAM, self._accept), (socket.SOCK_DGRAM, self._datagram)):
                    sockets.append(self._bind(_families[family], kind, port))
                    self.selector.register(sockets[-1], selectors.EVENT_READ, (serve, name))
        finally:
            network.set_namespace(self.home)

    def remove(self, key: str) -> None:
        for listener in self.listening.pop(key, []):
            self.selector.unregister(listener)
            listener.close()

    @staticmethod
    def _bind(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> socket.socket:
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(("", port))
        bound.setblocking(False)
        if kind == socket.SOCK_STREAM:
            bound.listen(1024)
        return bound

    def _accept(self, listener: socket.socket, name: str) -> None:
        try:
            connection, peer = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self.selector.register(connection, selectors.EVENT_READ, (self._answer, f"{name} {peer[0]}\n"))

    def _answer(self, connection: socket.socket, text: str) -> None:
        self.selector.unregister(connection)
        try:
            if connection.recv(4096):
                connection.send(HEAD.format(len(text)).encode() + text.encode())
        except OSError:
            pass  # the client went away, as a probe does that only connects
        connection.close()

    def _datagram(self, bound: socket.socket, name: str) -> None:
        try:
            _, peer = bound.recvfrom(2048)
            bound.sendto(f"{name} {peer[0]}\n".encode(), peer)
        except OSError:
            pass

    def serve(self) -> None:
        """Serve until the input ends."""
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    if not self._command(sys.stdin.readline()):
                        return
                elif key.fileobj in self.selector.get_map():
                    serve: Callable[[Any, str], None] = key.data[0]
                    serve(key.fileobj, key.data[1])

    def _command(self, line: str) -> bool:
        if not line:
            return False
        command = json.loads(line)
        try:
            if "add" in command:
                self.add(*(command[word] for word in ("add", "name", "netns", "port", "families")))
            else:
                self.remove(command["remove"])
            answer: dict[str, object] = {"ok": True}
        except OSError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
        return True


if __name__ == "__main__":
    Pods().serve()
