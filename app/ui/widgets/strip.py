"""The first pictures of the chosen folder, as small thumbnails inside the answer."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from app.ui.draft import DraftEditor
from trainers.data.decode import DECODE_ERRORS, open_picture
from trainers.data.sources import sources
from trainers.data.walk import walk

if TYPE_CHECKING:
    from app.services.studio import Studio

SHOWN = 12
SIDE_PX = 112


def server_function(studio: Studio, editor: DraftEditor) -> Callable[[Any], dict[str, Any]]:
    """What the strip asks for."""

    def pictures(_: Any = None) -> dict[str, Any]:
        """Thumbnails of the draft's folder, never of a folder that the caller names."""
        preview = studio.preview(editor.current().after)
        if preview.plan is None or preview.config is None:
            return {"thumbs": [], "total": 0}
        found = (source.folder / one.name for source in sources(preview.config.data) for one in walk(source.folder, ""))
        thumbs = [_thumbnail(file, file.stat().st_mtime_ns) for file in islice(found, SHOWN)]
        return {"thumbs": [thumb for thumb in thumbs if thumb], "total": preview.plan.pictures}

    return pictures


@lru_cache(maxsize=512)
def _thumbnail(path: Path, changed_ns: int) -> str:
    """A data address of a small WebP; empty for what is no picture. changed_ns: tells a changed file from the old."""
    try:
        picture = open_picture(path)
    except DECODE_ERRORS:
        return ""
    picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "webp", quality=80)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
