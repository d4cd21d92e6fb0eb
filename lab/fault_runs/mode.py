"""The two modes that everything is tried in."""

from enum import StrEnum


class Mode(StrEnum):
    """What feeds the permits, as a seat in the table says it."""

    WITNESSED = "Witnessed"
    LEASED = "Leased"
