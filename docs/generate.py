"""Writes the reference pages from what the code says of itself: settings, metrics, words (``make docs``)."""

import ast
import dataclasses
import sys
from pathlib import Path
from typing import Any

import cloudprovider.settings
import nodeagent.settings
from roost import metrics, options, words

PAGES = Path(__file__).parent / "reference"
NOTE = "<!-- made by docs/generate.py from the code; `make docs` writes it anew -->\n"


def pages() -> dict[str, str]:
    """Every page: its name, its text."""
    return {
        "settings.md": NOTE + _settings(),
        "metrics.md": NOTE + _metrics(),
        "words.md": NOTE + _words(),
    }


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _settings() -> str:
    parts = [
        "# Settings\n",
        "From a YAML file (`--config`), the environment, and flags; the later wins. "
        "In the file a setting is called as the flag, in camel case.\n",
    ]
    programs: list[tuple[str, type[Any]]] = [
        ("roost-cloudprovider", cloudprovider.settings.Settings),
        ("roost-nodeagent", nodeagent.settings.Settings),
    ]
    for program, settings in programs:
        rows = [
            (
                f"`{o.flag}`",
                ", ".join(f"`{name}`" for name in (o.env("ROOST_"), *o.aliases)),
                _default(o.default),
                o.help,
            )
            for o in options.describe(settings)
        ]
        parts += [f"## {program}\n", _table(("flag", "environment", "default", "what it does"), rows)]
    return "\n".join(parts)


def _default(value: object) -> str:
    if value is dataclasses.MISSING:
        return "required"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value}`" if str(value) else "none"


def _metrics() -> str:
    names = [metric for metric in metrics.REGISTRY.collect() if metric.name.startswith("roost_")]
    rows = [(f"`{metric.name}`", metric.type, metric.documentation) for metric in sorted(names, key=lambda m: m.name)]
    return "# Metrics\n\nBoth programs serve `/metrics` on their health port. Counters end in `_total`.\n\n" + _table(
        ("name", "type", "what it counts"), rows
    )


def _words() -> str:
    """Annotations, labels and names with the comments of words.py, and the reasons."""
    source = Path(words.__file__).read_text(encoding="utf-8")
    rows = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            _, _, comment = source.splitlines()[node.lineno - 1].partition("  # ")
            name = node.targets[0]
            assert isinstance(name, ast.Name)
            rows.append((f"`{node.value.value}`", name.id.replace("_", " ").lower(), comment))
    reasons = ", ".join(f"`{reason}`" for reason in sorted(words.Reason))
    return (
        "# Names\n\n"
        + _table(("name", "what", "note"), rows)
        + f"\n# Reasons\n\nOne word for each decision, in Events, conditions, logs and metrics alike: {reasons}.\n"
    )


def main() -> None:
    PAGES.mkdir(exist_ok=True)
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{PAGES.name}/{name}\n")


if __name__ == "__main__":
    main()
