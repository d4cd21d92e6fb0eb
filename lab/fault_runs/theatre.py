"""Where faults are done: a lab of their mode and size, opened when needed and kept as long as it is good for more."""

import time
from contextlib import ExitStack

from lab.cluster import Lab
from lab.fault_runs.mode import Mode
from lab.fault_runs.promises import Stage
from lab.fault_runs.scene import Scene


class Theatre:
    """The lab that is open now; the next fault of the same mode and stage is done in it, unless it came to no good."""

    def __init__(self) -> None:
        self._what: tuple[Mode, Stage] | None = None
        self._open = ExitStack()
        self._scene: Scene | None = None

    def scene(self, mode: Mode, stage: Stage) -> Scene:
        if self._scene is None or self._what != (mode, stage):
            self.close()
            began = time.monotonic()
            lab = self._open.enter_context(Lab(nodes=stage.nodes, witnesses=mode is Mode.WITNESSED))
            lab.install()
            self._scene, self._what = Scene(lab, stage.services).start(), (mode, stage)
            print(f"{mode.value.lower()}, {stage.nodes} nodes: open after {time.monotonic() - began:.0f} s", flush=True)
        return self._scene

    def close(self) -> None:
        self._scene = None
        self._open.close()
