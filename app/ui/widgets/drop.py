"""The drop zone: takes what the browser uploaded, copies it into the data folder, and makes it the draft's pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradio.utils import get_upload_folder

from app.services.datasets import MAX_BYTES, MAX_FILES, Dropped
from app.ui import forms
from app.ui.draft import DraftEditor
from trainers.errors import AtelierError

if TYPE_CHECKING:
    from app.services.studio import Studio

NAMED = 5  # files left out that the page names
LIMITS = {"files": MAX_FILES, "bytes": MAX_BYTES}


def server_function(studio: Studio, editor: DraftEditor) -> Callable[[Any], dict[str, Any]]:
    """What the zone sends its uploads to."""

    def add(uploads: Any) -> dict[str, Any]:
        """uploads: [path of the upload, folder that it came from] of each file; the paths are checked."""
        values = editor.current().after
        chosen, endings = forms.get(values, "data.folder"), forms.get(values, "data.caption_extension")
        try:
            added = studio.add_pictures(dropped(uploads), chosen, endings)
        except AtelierError as error:
            return {"error": str(error)}
        editor.edit({"data.folder": str(added.folder)})
        return {
            "folder": added.folder.name,
            "pictures": added.pictures,
            "captions": added.captions,
            "known": added.known,
            "left_out": len(added.left_out),
            "named": list(added.left_out[:NAMED]),
        }

    return add


def dropped(uploads: Any) -> list[Dropped]:
    """Raises ValueError for anything but files in the folder of uploads: others are not this page's to move."""
    if not isinstance(uploads, list) or not uploads:
        raise ValueError("a list of uploads is needed")
    root = Path(get_upload_folder()).resolve()
    return [_dropped(upload, root) for upload in uploads]


def _dropped(upload: Any, root: Path) -> Dropped:
    match upload:
        case [str(path), str(place)] if (file := Path(path).resolve()).is_relative_to(root) and file.is_file():
            return Dropped(file, place)
    raise ValueError("this is no upload")
