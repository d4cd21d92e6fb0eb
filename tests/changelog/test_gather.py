import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATHER = ROOT / "changelog.d" / "gather.py"
OLD = "# Changelog\n\nNewest first.\n\n## 0.1.0 (2026-12-01)\n\n### Added\n\n- Everything.\n"
NEW = """\
# Changelog

Newest first.

## 0.2.0 (2027-01-15)

### Added

- A first thing,
  on two lines.
- A second thing.

### Fixed

- A fault.

## 0.1.0 (2026-12-01)

### Added

- Everything.
"""


def gather(root: Path, **fragments: str) -> subprocess.CompletedProcess[str]:
    (root / "changelog.d").mkdir()
    (root / "changelog.d" / "README.md").write_text("stays")
    (root / "CHANGELOG.md").write_text(OLD)
    for name, text in fragments.items():
        (root / "changelog.d" / f"{name.replace('__', '.')}.md").write_text(text)
    command = [sys.executable, str(GATHER), "0.2.0", "--date", "2027-01-15", "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_files_become_a_section_and_go_away(tmp_path: Path) -> None:
    files = {"b__added": "A second thing.\n", "a__added": "A first thing,\non two lines.\n", "c__fixed": "A fault."}
    assert gather(tmp_path, **files).returncode == 0
    assert (tmp_path / "CHANGELOG.md").read_text() == NEW
    assert [file.name for file in (tmp_path / "changelog.d").iterdir()] == ["README.md"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param({}, "nothing to gather", id="no files"),
        pytest.param({"a__new": "A thing."}, "a.new.md", id="an unknown kind"),
        pytest.param({"a": "A thing."}, "a.md", id="no kind"),
        pytest.param({"a__added": " \n"}, "a.added.md", id="no text"),
    ],
)
def test_a_wrong_file_is_named_and_nothing_is_changed(tmp_path: Path, files: dict[str, str], says: str) -> None:
    done = gather(tmp_path, **files)
    assert done.returncode != 0
    assert says in done.stderr
    assert (tmp_path / "CHANGELOG.md").read_text() == OLD


def test_the_files_of_this_tree_can_be_gathered(tmp_path: Path) -> None:
    files = {
        file.name.removesuffix(".md").replace(".", "__"): file.read_text() for file in GATHER.parent.glob("*.*.md")
    }
    if files:
        assert gather(tmp_path, **files).returncode == 0
    assert {file.name for file in GATHER.parent.iterdir() if file.name.count(".") != 2} <= {
        "README.md",
        "gather.py",
        "__pycache__",
    }
