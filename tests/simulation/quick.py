"""The same steps, quicker: a third of a run is spent in ``dataclasses.replace``, which can be had at half the price."""

import dataclasses
from operator import attrgetter
from types import ModuleType
from typing import Any

from nodeagent.pulse import plan as pulse
from nodeagent.segment import feeding, judging, learning, plan, table

MODULES: tuple[ModuleType, ...] = (pulse, feeding, judging, learning, plan, table)

_known: dict[type, tuple[Any, dict[str, int]]] = {}


def replace(old: Any, /, **fields: Any) -> Any:
    """As ``dataclasses.replace``, for classes whose fields are all given to ``__init__``."""
    kind = type(old)
    if kind not in _known:
        names = [field.name for field in dataclasses.fields(kind)]
        _known[kind] = (attrgetter(*names), {name: number for number, name in enumerate(names)})
    values_of, places = _known[kind]
    values = list(values_of(old))
    for name, value in fields.items():
        values[places[name]] = value
    return kind(*values)


def hurry() -> None:
    """From now on the product's steps use it."""
    for module in MODULES:
        if getattr(module, "replace", None) is dataclasses.replace:
            module.replace = replace  # type: ignore[attr-defined]
