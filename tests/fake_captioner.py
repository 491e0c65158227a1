"""The worker of captioning jobs with a captioner that needs no model: `python -m tests.fake_captioner RUN_DIR`.

Its modes come from the job's seed: below 1000 the milliseconds that a picture takes; 1001: the process dies with the
third picture; 1002: the model cannot be loaded.
"""

from __future__ import annotations

import os
import signal
import sys

from captioners import worker
from captioners.base import Request, Result
from tests.scene_reader import SceneReader, read
from trainers.errors import AtelierError
from trainers.events import PhaseChanged

DIES, CANNOT_LOAD = 1001, 1002


def main() -> int:
    def load(config, spec, emit, stop_asked):  # type: ignore[no-untyped-def]
        emit(PhaseChanged("loading", spec.title))
        seed = config.run.seed
        if seed == CANNOT_LOAD:
            raise AtelierError("The weights are damaged.", "Download them again.")
        reader = SceneReader(pause_s=seed / 1000 if seed < 1000 else 0, stop_asked=stop_asked)
        if seed == DIES:

            def deadly(request: Request) -> Result:
                if len(reader.seeds) > 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return read(request)

            reader.answer = deadly
        return reader

    worker._load = load
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
