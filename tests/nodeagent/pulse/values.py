"""Any message, packet or other value that dataclasses describe, for properties."""

from dataclasses import is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from nodeagent.model import PROFILES, Profile
from nodeagent.pulse.messages import Message
from nodeagent.pulse.packets import Packet
from nodeagent.pulse.wire import Stamp

numbers = st.integers(0, 2**64 - 1)
waits = st.floats(0, 3600)
names = st.text(st.characters(codec="utf-8"), max_size=60)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: names,
    int: numbers,
    float: waits,
    bool: st.booleans(),
    bytes: st.binary(max_size=64),
    Profile: st.sampled_from(list(PROFILES.values())),
}


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of type *hint*."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if isinstance(hint, UnionType):
        return st.one_of([any_of(kind) for kind in get_args(hint)])
    if is_dataclass(hint):
        kind: Any = hint  # a class, though is_dataclass() says less
        return st.builds(kind, *[any_of(part) for part in get_type_hints(hint).values()])
    made, kinds = get_origin(hint), get_args(hint)
    if made is frozenset:
        return st.frozensets(any_of(kinds[0]), max_size=4)
    if kinds[-1] is Ellipsis:
        return st.lists(any_of(kinds[0]), max_size=3).map(tuple)
    return st.tuples(*[any_of(kind) for kind in kinds])


messages: st.SearchStrategy[Message] = any_of(Message)
packets: st.SearchStrategy[Packet] = any_of(Packet)
stamps = st.builds(Stamp, numbers, numbers, numbers)
