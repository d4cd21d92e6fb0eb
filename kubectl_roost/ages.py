"""Times as people read them."""

from datetime import datetime

UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))
TWO = 2  # of the larger unit: below that the smaller one is shown, as kubectl does


def age(since: str, now: datetime) -> str:
    """``9s``, ``3m``, ``5h``, ``12d``: how long ago *since* (RFC 3339) was; "" if that is not known."""
    if not since:
        return ""
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for size, unit in UNITS:
        if seconds >= TWO * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
