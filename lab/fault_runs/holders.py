"""Who held what and when, as the table said; and with it, which claims of two nodes were not lawful."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from types import TracebackType
from typing import Self

from lab.api import Json
from lab.claims import Recording
from lab.programs import SEGMENT, SEGMENTS, Programs

LAG = 0.2  # seconds that the watch is behind the writer of the table, at most
PATIENCE = 20.0  # seconds without a word after which the watch is opened again
AGAIN = 0.1  # seconds before it is

Holders = Mapping[str, str]  # group → node; a group that nobody holds has an empty one


@dataclass(frozen=True, slots=True)
class Held:
    """From *time* on (seconds since 1970, when it was seen) *node* held a group."""

    time: float
    node: str


def holders(table: Json) -> Holders:
    """Who holds each group of *table*, a Segment; a seat that is gone holds nothing."""
    status = table.get("status", {})
    live = {seat["tenure"]: seat["node"] for seat in status.get("seats", []) if seat["state"] == "Live"}
    return {row["name"]: live.get(row["tenure"], "") for row in status.get("groups", [])}


def history(seen: Sequence[tuple[float, Holders]], group: str) -> list[Held]:
    """Each change of the holder of *group*."""
    found = list[Held]()
    for moment, held in seen:
        node = held.get(group, "")
        if node and (not found or found[-1].node != node):
            found.append(Held(moment, node))
    return found


def returns(past: Sequence[Held]) -> list[float]:
    """When a node got a group back that it had had before: from then on its claims are lawful again.

    The watch is behind, so it is taken for a little earlier than seen, but for no earlier than the change before.
    """
    found, before = list[float](), set[str]()
    for number, held in enumerate(past):
        if held.node in before:
            found.append(max(held.time - LAG, past[number - 1].time))
        before.add(held.node)
    return found


def seconds_with_two(claims: Recording, cuts: Sequence[float]) -> float:
    """Of one address, its holder having got it back lawfully at *cuts*."""
    edges = [float("-inf"), *cuts, float("inf")]
    return sum(claims.between(start, end).seconds_with_two() for start, end in pairwise(edges))


def intruders(claims: Recording, cuts: Sequence[float], began: float) -> list[str]:
    """Of one address: every claim of a node after another's first, between *cuts*, in words; seconds after *began*."""
    found, edges = list[str](), [float("-inf"), *cuts, float("inf")]
    for start, end in pairwise(edges):
        seen = list[tuple[str, str]]()
        for claim in claims.between(start, end).claims:
            if claim.claimant not in seen:
                seen.append(claim.claimant)
            if claim.claimant != seen[-1]:
                found.append(f"{claim.vip}: {claim.port} by {claim.kind} after {claim.time - began:.3f} s")
    return found


class TableWatch:
    """A watch of the table that notes every change of holders; a context manager. It outlives the API server."""

    def __init__(self, lab: Programs) -> None:
        self.seen: list[tuple[float, Holders]] = []
        self._pki, self._ended = lab.control.pki, threading.Event()
        self._connection: http.client.HTTPSConnection | None = None
        self._thread = threading.Thread(target=self._run, name="table watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ended.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):  # it broke just now
                connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._watch()
            except (OSError, http.client.HTTPException, ValueError):
                self._ended.wait(AGAIN)

    def _watch(self) -> None:
        self._connection = connection = self._pki.connection(PATIENCE)
        name = SEGMENT.rpartition("/")[2]
        try:
            connection.request("GET", f"{SEGMENTS}?watch=1&fieldSelector=metadata.name%3D{name}")
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise OSError(f"no watch of the table: {response.status}")  # the server may just be starting
            while not self._ended.is_set() and (line := response.readline()):
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    self.seen.append((time.time(), holders(event["object"])))
        finally:
            connection.close()
