"""The real app over a fake worker: `python -m tests.serve DATA_DIR PORT [MODE]`. Its default preset needs no model.

Captions are written by the real worker, slowed down so that a job can be stopped in the middle.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tomli_w
from PIL import Image

PICTURES = 4


def prepare(data_dir: Path) -> None:
    """A preset that takes the place of the default one: four small pictures, and a folder that passes for a model."""
    pictures, base = data_dir / "pictures", data_dir / "base"
    for folder in (pictures, base, data_dir / "presets"):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        Image.new("RGB", (64, 64), (60 * number, 90, 160)).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text("a wuzzle")
    (base / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    values = {
        "title": "Test",
        "model": {"base": str(base)},
        "data": {"folder": str(pictures), "resolution": 64},
        "captions": {"trigger": "wuzzle"},
        "schedule": {"max_steps": 300},
        "sample": {"prompts": ["a wuzzle"], "every_steps": 100},
    }
    (data_dir / "presets" / "sandbox.toml").write_text(tomli_w.dumps(values))


def main() -> None:
    data_dir, port, mode = Path(sys.argv[1]), int(sys.argv[2]), (sys.argv[3:] or ["slow"])[0]
    prepare(data_dir)
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "ATELIER_DATA_DIR": str(data_dir)}
    import uvicorn

    from app.services.studio import Studio
    from app.web import create_app

    studio = Studio(
        data_dir,
        worker_command=[sys.executable, "-m", "tests.fake_worker", mode],
        caption_command=[sys.executable, "-m", "tests.slow_captioner"],
        tester_command=[sys.executable, "-m", "tests.fake_tester", "--idle-s", "20"],
    )
    uvicorn.run(create_app(studio), port=port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
