"""What people write (text, or what YAML made of it) as the types of settings."""

import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal

PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (int, "a whole number"),
    float: (float, "a number"),
    str: (str, "text"),
    Path: (Path, "a path"),
    IPv4Address: (IPv4Address, "an IPv4 address"),
    IPv6Address: (IPv6Address, "an IPv6 address"),
    IPv4Network: (IPv4Network, "an IPv4 prefix"),
    IPv6Network: (IPv6Network, "an IPv6 prefix"),
    IPv4Address | IPv6Address: (ip_address, "an IP address"),
    IPv4Network | IPv6Network: (ip_network, "an IP prefix"),
}
ALSO = "also"
TRUE, FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def also(*names: str) -> Mapping[str, Any]:
    """Metadata of a setting that has other *names* in the environment, too: those of a program that ours replaces."""
    return {ALSO: names}


@typing.runtime_checkable
class FromText(typing.Protocol):
    """A type with a notation of its own: ``from_text`` raises ValueError that says which part is wrong."""

    @classmethod
    def from_text(cls, text: str) -> typing.Self: ...


def read(hint: Any, value: Any) -> Any:
    """*value* (text, or what YAML made of it) as *hint*. Raises ValueError that says what it should be."""
    hint = plain(hint)
    item = item_of(hint)
    if item is not None:
        parts = value if isinstance(value, list | tuple) else [value]
        words = [word for part in parts for word in (part.split(",") if isinstance(part, str) else [part])]
        return typing.get_origin(hint)(_read_all(item, [w for w in words if not isinstance(w, str) or w.strip()]))
    if isinstance(hint, FromText):  # it may hold a password, so nothing of it is shown here
        if not isinstance(value, str | int):
            raise ValueError("it must be text")  # noqa: TRY004 - what people wrote, not a bug of ours
        return hint.from_text(str(value).strip())
    if isinstance(value, list | tuple | dict) or value is None:
        raise ValueError(f"{value!r} is not one value")
    if hint is bool or isinstance(value, bool):
        return _read_bool(hint, value)
    text = str(value).strip()
    choices = _choices(hint)
    if choices is not None:
        found = [choice for choice in choices if str(choice).lower() == text.lower()]
        if not found:
            raise ValueError(f"{text!r} is not one of {', '.join(map(str, choices))}")
        return choices[found[0]]
    parse, what = PARSERS[hint]
    try:
        return parse(text)
    except ValueError as error:
        reason = f" ({error})" if what.startswith("an IP") else ""
        raise ValueError(f"{text!r} is not {what}{reason}") from error


def _read_all(item: Any, words: list[Any]) -> list[Any]:
    """Each of *words*; the ValueError says all that is wrong with them."""
    found, errors = [], []
    for word in words:
        try:
            found.append(read(item, word))
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("; ".join(errors))
    return found


def _read_bool(hint: Any, value: Any) -> bool:
    text = str(value).strip().lower()
    if hint is not bool or text not in TRUE | FALSE:
        what = "true or false" if hint is bool else PARSERS.get(hint, (str, "of this kind"))[1]
        raise ValueError(f"{value!r} is not {what}")
    return text in TRUE


def plain(hint: Any) -> Any:
    """Without ``| None``."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        hint = parts[0]
        for part in parts[1:]:
            hint = hint | part
    return hint


def item_of(hint: Any) -> Any:
    """What a list holds; None if *hint* is no list."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) in {tuple, frozenset, list} else None


def _choices(hint: Any) -> dict[Any, Any] | None:
    if typing.get_origin(hint) is Literal:
        return {choice: choice for choice in typing.get_args(hint)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {choice.value: choice for choice in hint}
    return None


def kind(hint: Any) -> str:
    """A word for *hint* in a help text."""
    hint = plain(hint)
    if (item := item_of(hint)) is not None:
        return f"{kind(item)},…"
    if (choices := _choices(hint)) is not None:
        return "|".join(map(str, choices))
    words = {int: "NUMBER", float: "NUMBER", Path: "PATH", bool: "true|false"}
    what = PARSERS.get(hint, (str, ""))[1]
    return words.get(hint) or ("ADDRESS" if "address" in what else "PREFIX" if "prefix" in what else "TEXT")
