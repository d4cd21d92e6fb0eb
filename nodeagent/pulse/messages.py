"""What the pulses of a segment say to each other. Each message names its sender; the datagram around it is signed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hello:
    """*sender* is there. *permit*: for how many seconds an echo feeds it, from the sending of the hello."""

    sender: str
    tenure: int
    life: int
    sequence: int
    permit: float


@dataclass(frozen=True, slots=True)
class Echo:
    """The answer of a witness, or of one who could be: the words of the hello."""

    sender: str
    tenure: int
    life: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Silent:
    """A witness says that it hears nothing of a seat."""

    sender: str
    node: str
    tenure: int
    version: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Whether a tenure is over; only a yes is answered."""

    sender: str
    node: str
    tenure: int


@dataclass(frozen=True, slots=True)
class Gone:
    """*sender* never echoes that tenure again; no permit that it fed stands after *left* seconds."""

    sender: str
    node: str
    tenure: int
    left: float


@dataclass(frozen=True, slots=True)
class Told:
    """*sender* has written that *version* (resourceVersion) of the table, in which these (node, tenure) ended."""

    sender: str
    version: int
    ended: tuple[tuple[str, int], ...]


Message = Hello | Echo | Silent | Ask | Gone | Told
