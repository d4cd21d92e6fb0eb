"""What a patch does to an object: merge (RFC 7396), JSON (RFC 6902), strategic merge and apply, as Roost uses them."""

import copy
from typing import Any

Json = Any

# Lists that are maps by these keys (x-kubernetes-list-map-keys, patchMergeKey), and lists that are sets.
KEYS = {"conditions": ("type",), "claims": ("namespace", "name"), "exceptions": ("vip",)}
SETS = {"finalizers"}


class Rejected(Exception):
    """The patch cannot be applied (422)."""


def merge(old: Json, patch: Json) -> Json:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merge(new.get(key), value)
    return new


def strategic(old: Json, patch: Json, name: str = "") -> Json:
    """Merge, but lists with keys are merged item by item, and sets united."""
    if isinstance(patch, list) and isinstance(old, list):
        if name in SETS:
            return old + [item for item in patch if item not in old]
        if name in KEYS:
            return _by_key(old, patch, KEYS[name])
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = strategic(new.get(key), value, key)
    return new


def _by_key(old: list[Json], patch: list[Json], keys: tuple[str, ...]) -> list[Json]:
    def identity(item: Json) -> tuple[Json, ...]:
        return tuple(item.get(key) for key in keys)

    new = {identity(item): item for item in old}
    for item in patch:
        new[identity(item)] = strategic(new.get(identity(item), {}), item)
    return list(new.values())


def apply(old: Json, applied: Json, before: Json) -> Json:
    """Server-side apply by one manager: what it applied *before* and no longer does goes, the rest is merged."""
    return strategic(_without(old, before, applied), applied)


def _without(old: Json, before: Json, now: Json, name: str = "") -> Json:
    if isinstance(old, dict) and isinstance(before, dict):
        now = now if isinstance(now, dict) else {}
        kept = {}
        for key, value in old.items():
            if key in before and key not in now:
                continue
            kept[key] = _without(value, before[key], now[key], key) if key in before else value
        return kept
    if isinstance(old, list) and isinstance(before, list) and name in KEYS:
        keys = KEYS[name]

        def names(items: list[Json]) -> set[tuple[Json, ...]]:
            return {tuple(item.get(key) for key in keys) for item in items}

        dropped = names(before) - names(now)
        return [item for item in old if not names([item]) & dropped]
    if isinstance(old, list) and isinstance(before, list) and name in SETS:
        return [item for item in old if item not in before or item in now]
    return old


def json_patch(old: Json, operations: list[dict[str, Json]]) -> Json:
    """RFC 6902: add, remove, replace, test. Raises Rejected; *old* stays as it was."""
    new = copy.deepcopy(old)
    for operation in operations:
        path = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        try:
            _operate(new, path, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Rejected(f"{operation['op']} {operation['path']}") from error
    return new


def _operate(new: Json, path: list[str], operation: dict[str, Json]) -> None:
    for part in path[:-1]:
        new = new[int(part)] if isinstance(new, list) else new[part]
    last: Any = path[-1]
    if isinstance(new, list):
        last = len(new) if last == "-" else int(last)
    match operation["op"]:
        case "add" if isinstance(new, list):
            new.insert(last, operation["value"])
        case "add":
            new[last] = operation["value"]
        case "remove":
            del new[last]
        case "replace":
            _ = new[last]  # it must be there
            new[last] = operation["value"]
        case "test":
            if new[last] != operation["value"]:
                raise ValueError
        case op:
            raise ValueError(op)
