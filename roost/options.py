"""Settings from a file, the environment and flags, in that order of growing weight.

A program's ``Settings`` is a frozen dataclass; each room's own ``Settings`` is a field of it. One setting is one plain
field somewhere in there, and has one name, made from the field's:

* flag ``--node-name`` for the field ``node_name``, wherever it stands. Only where two rooms use one field name the room
  goes in front of both: ``--kube-timeout``, ``--gate-timeout``.
* environment: the flag in capitals after the prefix, ``ROOST_NODE_NAME``. Lists have commas. Empty is unset.
* file (YAML, ``--config``): the flag in camel case, ``nodeName``; or below the room, ``kube: {timeout: 5}``.

``asn: int = dataclasses.field(default=65000, metadata=values.also("bgp_as"))`` is read from the environment by that
name too, as another program has it, where our own name is not given. A field with ``repr=False`` is a secret: what was
given for it is never shown.

``health: health.Settings = health.Settings(health_port=9100)`` gives a room other defaults in one program.
What follows a field as a docstring (or, failing that, as a comment on its line) is its help text. Checks that concern
several fields belong into the dataclass's ``__post_init__`` and raise ValueError.
"""

import ast
import dataclasses
import difflib
import inspect
import os
import re
import sys
import textwrap
import typing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import yaml
from cyclopts import App, CycloptsError, Group, Parameter

from roost.values import ALSO, item_of, kind, plain, read
from roost.words import VERSION

S = TypeVar("S")

EXIT_USAGE = 2
# What Kubernetes puts into every container for a Service called roost-…: not meant for us.
SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$")


@dataclass(frozen=True, slots=True)
class Option:
    """One setting."""

    path: tuple[str, ...]  # fields from the program's Settings down
    type: Any
    default: Any  # dataclasses.MISSING: it must be given
    help: str
    name: str  # "node-name"
    aliases: tuple[str, ...] = ()  # other names in the environment, whole; our own wins
    secret: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    def env(self, prefix: str) -> str:
        return prefix + self.name.replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as it was found."""

    value: Any
    source: str  # "flag --timeout", "ROOST_TIMEOUT", "file /etc/roost.yaml, kube.timeout"


class _Wrong(Exception):
    """Something cannot be read; the message says what."""


def load(
    settings: type[S],
    *,
    program: str,
    prefix: str = "ROOST_",
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> S:
    """The settings of *program*. All that is wrong is said at once on stderr, and ends it with exit code 2."""
    environ = os.environ if environ is None else environ
    options = describe(settings)
    flags, config = _flags(options, program, prefix, sys.argv[1:] if argv is None else argv)
    errors: list[str] = []
    warnings: list[str] = []
    given: dict[tuple[str, ...], _Given] = {}
    config = config or environ.get(f"{prefix}CONFIG", "")
    if config:
        try:
            given |= _from_file(Path(config), options, warnings)
        except _Wrong as wrong:
            errors.append(str(wrong))
    given |= _from_environment(options, prefix, environ, warnings) | flags
    values = {}
    for option in options:
        try:
            values[option.path] = _value(option, given.get(option.path), prefix)
        except _Wrong as wrong:
            errors.append(str(wrong))
    for warning in warnings:
        print(f"{program}: warning: {warning}", file=sys.stderr)  # noqa: T201 - before there is a log
    result = None if errors else _build(settings, values, (), errors)
    if errors or result is None:
        _give_up(program, errors)
    return result


def _give_up(program: str, errors: list[str]) -> NoReturn:
    for error in errors:
        print(f"{program}: {error}", file=sys.stderr)  # noqa: T201 - before there is a log
    print(f"{program}: try --help", file=sys.stderr)  # noqa: T201
    raise SystemExit(EXIT_USAGE)


# -- which settings there are


def describe(settings: type[Any]) -> list[Option]:
    """Every setting of a program, in order: what ``--help`` and the reference page show."""
    found = list(_options(settings, ()))
    uses = Counter(option.path[-1] for option in found)
    return [
        dataclasses.replace(
            option,
            name="-".join(option.path[-2:] if uses[option.path[-1]] > 1 else option.path[-1:]).replace("_", "-"),
        )
        for option in found
    ]


def _options(settings: type[Any], path: tuple[str, ...], instance: Any = None) -> Iterator[Option]:
    """*instance*: what the field above has as its default; it may differ from the room's own defaults."""
    hints = typing.get_type_hints(settings)
    texts = _texts(settings)
    for field in dataclasses.fields(settings):
        hint, here = hints[field.name], (*path, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if instance is not None:
            default = getattr(instance, field.name)
        if dataclasses.is_dataclass(hint):
            yield from _options(typing.cast(type[Any], hint), here, None if default is dataclasses.MISSING else default)
        else:
            aliases = field.metadata.get(ALSO, ())
            yield Option(here, hint, default, texts.get(field.name, ""), "", aliases, not field.repr)


def _texts(settings: type[Any]) -> dict[str, str]:
    """The docstring after each field, or the comment on its line."""
    lines = textwrap.dedent(inspect.getsource(settings)).splitlines()
    body = ast.parse("\n".join(lines)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for node, following in zip(body.body, [*body.body[1:], None], strict=True):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        _, _, text = lines[node.lineno - 1].partition("  # ")
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = inspect.cleandoc(str(following.value.value))
        found[node.target.id] = " ".join(text.split())
    return found


# -- flags and help


def _flags(
    options: list[Option], program: str, prefix: str, argv: Sequence[str]
) -> tuple[dict[tuple[str, ...], _Given], str]:
    """The flags that were given, and the name of the file. Ends the program after --help and --version."""
    found: dict[str, Any] | None = None

    def main(**values: Any) -> None:
        nonlocal found
        found = values

    parameters = [_parameter("config", Path, f"YAML file with settings. [env: {prefix}CONFIG]", Group("Program"))]
    for option in options:
        default = "required" if option.default is dataclasses.MISSING else f"default: {_shown(option.default)}"
        group = Group(option.path[-2].capitalize() if len(option.path) > 1 else "Program")
        names = ", ".join((option.env(prefix), *option.aliases))
        text = f"{option.help} [env: {names}] [{default}]".strip()
        parameters.append(_parameter(option.name, option.type, text, group))
    main.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # cyclopts reads it
    main.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app = App(name=program, version=VERSION, help_format="plaintext", version_flags=["--version"])
    app.default(main)
    try:
        app(list(argv), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _give_up(program, [str(error).strip()])
    if found is None:  # it showed the help or the version
        raise SystemExit(0)
    given = {
        option.path: _Given(value, option.flag)
        for option in options
        if (value := found.get(option.name.replace("-", "_"))) is not None
    }
    return given, found.get("config") or ""


def _parameter(name: str, hint: Any, text: str, group: Group) -> inspect.Parameter:
    how = Parameter(
        name=f"--{name}", help=text, group=group, show_default=False, negative_iterable="", metavar=kind(hint)
    )
    annotation = Annotated[_flag_type(hint) | None, how]  # type: ignore[valid-type]  # made for cyclopts at run time
    return inspect.Parameter(
        name.replace("-", "_"), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _flag_type(hint: Any) -> Any:
    """As little as cyclopts needs to know; the value itself is read here, so that every error is found."""
    if plain(hint) is bool:
        return bool
    return list[str] if item_of(hint) is not None else str


def _shown(value: Any) -> str:
    if isinstance(value, tuple | frozenset | list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None or value == "" else str(value)


# -- environment and file


def _from_environment(
    options: list[Option], prefix: str, environ: Mapping[str, str], warnings: list[str]
) -> dict[tuple[str, ...], _Given]:
    names = {option.env(prefix): option for option in options}
    for name in sorted(environ):
        known = name in names or name == f"{prefix}CONFIG"
        if name.startswith(prefix) and not known and not SERVICE_LINK.search(name):
            warnings.append(f"{name} in the environment is no setting{_nearest(name, names)}")
    given = {}
    for own, option in names.items():
        found = [name for name in (own, *option.aliases) if environ.get(name, "").strip()]
        if found:
            given[option.path] = _Given(environ[found[0]], found[0])
            warnings += [
                f"{name} in the environment is not used: {found[0]} is there"
                for name in found[1:]
                if environ[name] != environ[found[0]]
            ]
    return given


def _from_file(path: Path, options: list[Option], warnings: list[str]) -> dict[tuple[str, ...], _Given]:
    """Raises _Wrong if it cannot be read."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _Wrong(f"file {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict | None):
        raise _Wrong(f"file {path}: it must hold settings by name")
    names = {_squeezed(name): option for option in options for name in (option.name, ".".join(option.path))}
    given = {}
    for name, value in _leaves(content or {}, {_squeezed(name).rpartition(".")[0] for name in names}):
        if option := names.get(_squeezed(name)):
            given[option.path] = _Given(value, f"{name} in {path}")
        else:
            spoken = {_camel(option.name): option for option in options}
            warnings.append(f"{name} in {path} is no setting{_nearest(name, spoken)}")
    return given


def _leaves(content: Mapping[Any, Any], rooms: set[str], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, dict) and _squeezed(name) in rooms:
            yield from _leaves(value, rooms, name)
        else:
            yield name, value


def _squeezed(name: str) -> str:
    """nodeName, node-name and node_name are one name."""
    return name.replace("-", "").replace("_", "").lower()


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(part.capitalize() for part in rest)


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, list(known), 1)
    return f"; the nearest is {found[0]}" if found else ""


# -- values


def _value(option: Option, given: _Given | None, prefix: str) -> Any:
    if given is None:
        if option.default is dataclasses.MISSING:
            raise _Wrong(f"{option.flag} ({option.env(prefix)}) must be given")
        return option.default
    try:
        return read(option.type, given.value)
    except ValueError as error:
        what = f"it is not {kind(option.type)} (what was given is not shown)" if option.secret else str(error)
        raise _Wrong(f"{given.source}: {what}") from error


def _build(
    settings: type[S], values: Mapping[tuple[str, ...], Any], path: tuple[str, ...], errors: list[str]
) -> S | None:
    """The dataclasses from the inside out. What a __post_init__ objects to goes into *errors*."""
    hints = typing.get_type_hints(settings)
    parts = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]  # it is a dataclass: describe() walked it
        hint, here = hints[field.name], (*path, field.name)
        inner = typing.cast(type[Any], hint) if dataclasses.is_dataclass(hint) else None
        parts[field.name] = values[here] if inner is None else _build(inner, values, here, errors)
    if errors:
        return None
    try:
        return settings(**parts)
    except ValueError as error:
        errors.append(f"{'.'.join(path)}: {error}" if path else str(error))
        return None
