"""Gathers the files of changelog.d into a new section of CHANGELOG.md, and removes them."""

import argparse
import re
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

KINDS = {"added": "Added", "changed": "Changed", "fixed": "Fixed", "removed": "Removed", "security": "Security"}
FRAGMENT = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)\.(?P<kind>[a-z]+)\.md")


def section(fragments: Mapping[str, str], version: str, day: date) -> str:
    """The section of one release, from file names and their texts. ValueError names each file that is wrong."""
    texts: dict[str, list[str]] = {kind: [] for kind in KINDS}
    wrong = []
    for name, text in sorted(fragments.items()):
        match = FRAGMENT.fullmatch(name)
        if match is None or match["kind"] not in KINDS or not text.strip():
            wrong.append(name)
        else:
            texts[match["kind"]].append("- " + "\n  ".join(text.strip().splitlines()))
    if wrong:
        kinds = ", ".join(KINDS)
        raise ValueError(f"not <short-name>.<kind>.md with a text in it (kinds: {kinds}): {', '.join(wrong)}")
    parts = [f"### {KINDS[kind]}\n\n" + "\n".join(lines) for kind, lines in texts.items() if lines]
    return "\n\n".join([f"## {version} ({day.isoformat()})", *parts]) + "\n"


def with_section(changelog: str, new: str) -> str:
    """The changelog with *new* before its first section."""
    head, mark, rest = changelog.partition("\n## ")
    return f"{head.rstrip()}\n\n{new}{mark}{rest}"


def main(argv: list[str] | None = None) -> str | None:
    """Gather; returns what is wrong, if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", help="of the release, for example 0.2.0")
    parser.add_argument("--date", type=date.fromisoformat, required=True, help="of the release, for example 2027-01-15")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="of the source tree")
    wanted = parser.parse_args(argv)
    files = [file for file in (wanted.root / "changelog.d").glob("*.md") if file.name != "README.md"]
    if not files:
        return "no file in changelog.d: nothing to gather"
    changelog = wanted.root / "CHANGELOG.md"
    try:
        new = section({file.name: file.read_text() for file in files}, wanted.version, wanted.date)
    except ValueError as error:
        return str(error)
    changelog.write_text(with_section(changelog.read_text(), new))
    for file in files:
        file.unlink()
    return None


if __name__ == "__main__":
    sys.exit(main())
