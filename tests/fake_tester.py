"""The process that draws trials, over a drawer without a model: `python -m tests.fake_tester RUN_DIR ...`.

A prompt that begins with "fail" fails, one with "slow" takes a second a picture, one with "die" ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from PIL import Image

from trainers import tester
from trainers.errors import AtelierError


class FakeDrawer:
    """Draws one colour: the redder, the stronger."""

    def __init__(self, config: object, file: Path) -> None:
        self.say: Callable[[str], None] = lambda part: None
        self.loaded = False

    def draw(self, request: Any) -> Image.Image:
        if not self.loaded:
            self.say("denoiser")
        self.loaded = True
        word = request.prompt.split()[0] if request.prompt else ""
        if word == "fail":
            raise AtelierError("It cannot be drawn.", "Ask for something else.")
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1.0 if word == "slow" else 0.05)
        return Image.new("RGB", (request.width, request.height), (min(int(200 * request.strength), 255), 90, 160))


def main() -> int:
    stand_in: Any = ModuleType("trainers.draw")  # the real one needs torch, which takes seconds to load
    stand_in.Drawer, stand_in.DrawRequest = FakeDrawer, SimpleNamespace
    sys.modules["trainers.draw"] = stand_in
    return tester.main()


if __name__ == "__main__":
    sys.exit(main())
