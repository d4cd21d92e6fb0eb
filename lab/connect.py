"""A client that opens a connection every few milliseconds and keeps book (``python -m``).

Arguments: address, port, period and time-out in seconds. Commands, one JSON value a line: "report" answers with the
book so far; anything else ends the program.
"""

import json
import os
import selectors
import socket
import struct
import sys
import time
from dataclasses import dataclass

ABORT = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close by RST, so that no port is spent on waiting


@dataclass(slots=True)
class Attempt:
    """A connection under way, by CLOCK_MONOTONIC."""

    socket: socket.socket
    started: float


class Client:
    """Starts an attempt each *period* whatever becomes of the others."""

    def __init__(self, address: str, port: int, period: float, patience: float) -> None:
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.target = (address, port)
        self.period, self.patience = period, patience
        self.epoch = time.time() - time.monotonic()
        self.selector = selectors.DefaultSelector()
        self.under_way: dict[int, Attempt] = {}  # by file descriptor, in order of start
        self.successes: list[float] = []  # when each was done
        self.failures: list[tuple[float, str]] = []  # when each was started, and why it failed
        self.late = 0.0  # the most that an attempt was late by our own fault
        self.started = self.next = time.monotonic()

    def tick(self) -> float:
        """Start what is due, end what took too long, and return when to come again."""
        now = time.monotonic()
        while self.next <= now:
            self.late = max(self.late, now - self.next)
            self.start(now)
            self.next += self.period
            if now - self.next > 1:  # we were stopped: do not make up for hundreds of them at once
                self.next = now
        while self.under_way:
            attempt = next(iter(self.under_way.values()))
            if attempt.started + self.patience > now:
                break
            self.end(attempt, "no answer")
        return self.next

    def start(self, now: float) -> None:
        connection = socket.socket(self.family, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        attempt = Attempt(connection, now)
        self.under_way[connection.fileno()] = attempt
        self.selector.register(connection, selectors.EVENT_WRITE, attempt)
        try:
            connection.connect(self.target)
        except BlockingIOError:
            pass
        except OSError as error:
            self.end(attempt, error.strerror or str(error))

    def done(self, attempt: Attempt) -> None:
        error = attempt.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.end(attempt, os.strerror(error))
        else:
            self.successes.append(time.monotonic())
            self.forget(attempt)

    def end(self, attempt: Attempt, why: str) -> None:
        self.failures.append((attempt.started, why))
        self.forget(attempt)

    def forget(self, attempt: Attempt) -> None:
        del self.under_way[attempt.socket.fileno()]
        self.selector.unregister(attempt.socket)
        attempt.socket.close()

    def report(self) -> dict[str, object]:
        return {
            "started": self.started + self.epoch,
            "now": time.time(),
            "successes": [moment + self.epoch for moment in self.successes],
            "failures": [(moment + self.epoch, why) for moment, why in self.failures],
            "late": self.late,
        }


def main() -> None:
    address, port, period, patience = sys.argv[1:]
    client = Client(address, int(port), float(period), float(patience))
    client.selector.register(sys.stdin, selectors.EVENT_READ, None)
    while True:
        due = client.tick()
        for key, _ in client.selector.select(max(0.0, due - time.monotonic())):
            if key.data is not None:
                client.done(key.data)
                continue
            line = sys.stdin.readline()
            if not line or json.loads(line) != "report":
                return
            print(json.dumps(client.report()), flush=True)


if __name__ == "__main__":
    main()
