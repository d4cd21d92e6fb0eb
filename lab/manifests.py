"""Renders the chart, the one source of what a cluster needs, into build/roost.yaml with the real helm."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import build
from lab.run import LabError, run

ROOT = Path(__file__).parent.parent
CHART = ROOT / "helm" / "roost"
RENDERED = ROOT / "build" / "roost.yaml"
NAMESPACE = "roost-system"


def render(values: Sequence[str] = (), to: Path = RENDERED) -> Path:
    """Write the manifests, by default to build/roost.yaml, and return their path.

    *values*: as helm's --set takes them. Raises LabError with helm's words, BuildError without helm.
    """
    helm = build.ensure() / "helm"
    chosen = [f"--set={value}" for value in values]
    text = run([str(helm), "template", "roost", str(CHART), f"--namespace={NAMESPACE}", "--no-hooks", *chosen])
    to.parent.mkdir(exist_ok=True)
    fresh = to.with_suffix(f".{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(to)
    return to


def main() -> None:
    """``python -m lab.manifests``."""
    try:
        print(render().relative_to(ROOT))
    except (LabError, build.BuildError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
