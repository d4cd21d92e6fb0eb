"""Sessions and paths as a page for people, and as JSON for programs."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from kubectl_roost.ages import age
from kubectl_roost.bgp.plan import Path, Session, View
from kubectl_roost.columns import columns

WIDE = 140  # characters a line


def as_json(view: View) -> str:
    """One object with the keys sessions and paths (null unless one node was asked for); indented."""
    return msgspec.json.format(msgspec.json.encode(view), indent=2).decode()


def page(view: View, now: datetime) -> str:
    """The whole page, without a line break at its end."""
    if not view.sessions:
        parts = ["no session: no BGPPeer, setting or annotation asks for one"]
    else:
        parts = [columns(_sessions(view.sessions, now), WIDE)]
        established = sum(session.established for session in view.sessions)
        parts.append(f"{established} of {len(view.sessions)} sessions established")
    if view.paths:
        parts.append("VIPs that it is to announce\n" + columns(_paths(view.paths), WIDE))
    elif view.paths is not None:
        parts.append("no VIP that it is to announce by BGP")
    return "\n\n".join(parts)


def _sessions(sessions: Iterable[Session], now: datetime) -> list[tuple[str, ...]]:
    heads = ("NODE", "PEER", "REMOTE", "ASN", "STATE", "SINCE", "PREFIXES", "LAST ERROR")
    return [
        heads,
        *(
            (
                one.node,
                one.peer,
                one.remote,
                str(one.asn or ""),
                one.state,
                age(one.since, now),
                "" if one.prefixes is None else str(one.prefixes),
                one.error,
            )
            for one in sessions
        ),
    ]


def _paths(paths: Iterable[Path]) -> list[tuple[str, ...]]:
    heads = ("ADDRESS", "SERVICES", "ANNOUNCED", "REASON", "MESSAGE")
    return [
        heads,
        *((one.address, one.services, "no" if one.reason else "yes", one.reason, one.message) for one in paths),
    ]
