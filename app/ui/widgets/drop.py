"""The drop zone: takes what the browser uploaded and copies it into a data set, new or known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradio.utils import get_upload_folder

from app.services import datasets
from app.services.datasets import MAX_BYTES, MAX_FILES, Added, Dropped
from app.ui import forms
from app.ui.draft import DraftEditor
from trainers.data.decode import PICTURE_ENDINGS
from trainers.errors import AtelierError, DataError

if TYPE_CHECKING:
    from app.services.studio import Studio

NAMED = 5  # files left out that the page names
LIMITS = {"files": MAX_FILES, "bytes": MAX_BYTES, "endings": sorted(PICTURE_ENDINGS)}


def server_function(studio: Studio, editor: DraftEditor) -> Callable[[Any], dict[str, Any]]:
    """What the zone of the first tab sends its uploads to: they become the draft's pictures."""

    def add(uploads: Any) -> dict[str, Any]:
        """uploads: [path of the upload, folder that it came from] of each file; the paths are checked."""
        values = editor.current().after
        chosen, endings = forms.get(values, "data.folder"), forms.get(values, "data.caption_extension")
        try:
            added = studio.add_pictures(dropped(uploads), chosen, endings)
        except AtelierError as error:
            return {"error": str(error)}
        editor.edit({"data.folder": str(added.folder)})
        return _record(added)

    return add


def into_data_set(studio: Studio, editor: DraftEditor) -> Callable[[Any], dict[str, Any]]:
    """What the zone of the data sets sends its uploads to: they join a set, or make one."""

    def fill(request: Any) -> dict[str, Any]:
        """request: [uploads as above, id of the set or "" for a new one]; `id` of the answer says which it became."""
        match request:
            case [uploads, str(set_id)]:
                files = dropped(uploads)
            case _:
                raise ValueError("uploads and a data set are needed")
        endings = str(forms.get(editor.current().after, "data.caption_extension"))
        try:
            folder = _folder_of(studio, set_id) if set_id else None
            added = datasets.add(files, studio.data_dir / "datasets", "", endings, into=folder)
            if set_id:
                studio.gallery.reload(set_id)
        except AtelierError as error:
            return {"error": str(error)}
        return _record(added) | {"id": set_id or studio.gallery.id_of(str(added.folder))}

    return fill


def _folder_of(studio: Studio, set_id: str) -> Path:
    """Raises ValueError for a set that is not known, DataError for one that may not be changed."""
    found = next((one for one in studio.gallery.sets() if one["id"] == set_id), None)
    if found is None:
        raise ValueError("there is no such data set")
    if found["locked"]:
        raise DataError(found["locked"], "Drop them into a data set of your own.")
    return Path(found["path"])


def _record(added: Added) -> dict[str, Any]:
    return {
        "folder": added.folder.name,
        "pictures": added.pictures,
        "captions": added.captions,
        "tables": added.tables,
        "known": added.known,
        "left_out": len(added.left_out),
        "named": list(added.left_out[:NAMED]),
    }


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
