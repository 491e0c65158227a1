"""The real app and the real captioning worker, slowed down: `python -m tests.serve_captions DATA_DIR PORT`.

Training is done by the fake worker, which steps until it is stopped.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.serve import prepare


def main() -> None:
    data_dir, port = Path(sys.argv[1]), int(sys.argv[2])
    prepare(data_dir)
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "ATELIER_DATA_DIR": str(data_dir)}
    import uvicorn

    from app.services.studio import Studio
    from app.web import create_app

    studio = Studio(
        data_dir,
        worker_command=[sys.executable, "-m", "tests.fake_worker", "slow"],
        caption_command=[sys.executable, "-m", "tests.slow_captioner"],
    )
    uvicorn.run(create_app(studio), port=port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
