"""A wire without a kernel, for tests: it remembers what was sent."""

from collections.abc import Iterable

from nodeagent.neighbours.apply import Sent


class FakeWire:
    """Keeps the frames in `frames`; while `shut` the gate holds every one of them back."""

    def __init__(self) -> None:
        self.frames = list[bytes]()
        self.shut = False

    def close(self) -> None:
        pass

    def send(self, frames: Iterable[bytes]) -> Sent:
        several = list(frames)
        if self.shut:
            return Sent(refused=len(several))
        self.frames += several
        return Sent(frames=len(several))
