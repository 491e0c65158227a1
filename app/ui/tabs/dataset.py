"""The tab of data sets: grid, captions, bulk edits. All of it comes from the gallery, so it outlives page and app."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.services.gallery import FILTERS, SORTS
from app.ui import asked, forms
from app.ui.answers import answer, done
from app.ui.draft import DraftEditor
from app.ui.texts import Texts
from app.ui.widgets import drop, storage
from app.ui.widgets.live import live

if TYPE_CHECKING:
    from app.services.studio import Studio

MAX_TEXT = 100_000  # letters of a caption
MAX_PATH = 4096
MAX_WORDS = 1000  # letters of a search or a tag
MAX_PIDS = 1_000_000
PAGE = 500


def build(studio: Studio, editor: DraftEditor, texts: Texts) -> None:
    functions = [*of_sets(studio, editor), *of_pictures(studio, texts), *of_edits(studio)]
    functions.append(drop.into_data_set(studio, editor))
    value = {"filters": list(FILTERS), "sorts": list(SORTS), "limits": drop.LIMITS}
    live("dataset", texts, "dataset.", "filter.", "edit.", "drop.", "state.", value=value, functions=functions)
    live("storage", texts, "storage.", functions=storage.server_functions(studio, texts))


def of_sets(studio: Studio, editor: DraftEditor) -> list[Callable[..., Any]]:
    """What the page may ask of data sets. Every argument comes from the network, so its type is checked."""
    gallery = studio.gallery

    def folder_of_draft() -> str:
        return str(forms.get(editor.current().after, "data.folder"))

    def sets(_: Any = None) -> dict[str, Any]:
        """All sets, and the id of the one that the draft trains on; "" for none."""
        known, folder = gallery.sets(), folder_of_draft()
        drafted = gallery.id_of(folder) if folder else ""
        return {"sets": known, "draft": drafted if any(one["id"] == drafted for one in known) else ""}

    def browse(path: Any) -> dict[str, Any]:
        wanted = asked.text(path, MAX_PATH)
        return answer(lambda: gallery.browse(wanted))

    def add_folder(path: Any) -> dict[str, Any]:
        wanted = asked.text(path, MAX_PATH)
        return answer(lambda: {"id": gallery.add_folder(wanted)})

    def create(name: Any) -> dict[str, Any]:
        wanted = asked.text(name, MAX_WORDS)
        return answer(lambda: {"id": gallery.create(wanted)})

    def copy_set(set_id: Any) -> dict[str, Any]:
        """Make an own data set of one that may not be changed."""
        wanted = asked.id(set_id)
        return answer(lambda: {"id": gallery.copy(wanted)})

    def forget(set_id: Any) -> dict[str, Any]:
        wanted = asked.id(set_id)
        return done(lambda: gallery.forget(wanted))

    def train_on(set_id: Any) -> dict[str, Any]:
        """Make a set the draft's pictures."""
        wanted = asked.id(set_id)
        path = next((one["path"] for one in gallery.sets() if one["id"] == wanted), None)
        if path is None:
            raise ValueError("there is no such data set")
        editor.train_on(path)
        return {}

    return [sets, browse, add_folder, create, copy_set, forget, train_on]


def of_pictures(studio: Studio, texts: Texts) -> list[Callable[..., Any]]:
    """What the page may ask of one set and its pictures: by ids alone, never by a path."""
    gallery = studio.gallery

    def open(set_id: Any) -> dict[str, Any]:
        wanted = asked.id(set_id)
        found = _with_reason(answer(lambda: gallery.open(wanted)), texts)
        if "bad" in found:
            found["bad"] = [_with_reason(bad, texts) for bad in found["bad"]]
        return found

    def reload(set_id: Any) -> dict[str, Any]:
        wanted = asked.id(set_id)
        return done(lambda: gallery.reload(wanted))

    def pictures(request: Any) -> dict[str, Any]:
        set_id, query, first, count = asked.parts(request, 4)
        wanted, where = asked.id(set_id), _query(query)
        start, length = asked.count(first), min(asked.count(count), PAGE)
        return answer(lambda: gallery.page(wanted, where, start, length))

    def detail(request: Any) -> dict[str, Any]:
        set_id, pid = asked.parts(request, 2)
        wanted, picture = asked.id(set_id), asked.id(pid)
        return _with_reason(answer(lambda: gallery.detail(wanted, picture)), texts)

    def count(text: Any) -> list[dict[str, Any]]:
        return gallery.count(asked.text(text, MAX_TEXT))

    def tags(request: Any) -> list[list[Any]] | dict[str, Any]:
        set_id, query, limit = asked.parts(request, 3)
        wanted, where, most = asked.id(set_id), _query(query), asked.count(limit)
        return answer(lambda: gallery.tags(wanted, where, most))

    def histogram(set_id: Any) -> list[dict[str, Any]] | dict[str, Any]:
        wanted = asked.id(set_id)
        return answer(lambda: gallery.histogram(wanted))

    return [open, reload, pictures, detail, count, tags, histogram]


def of_edits(studio: Studio) -> list[Callable[..., Any]]:
    """What the page may change: captions and pictures of a set, each act of which can be undone."""
    gallery = studio.gallery

    def save(request: Any) -> dict[str, Any]:
        set_id, pid, text, stamp = asked.parts(request, 4)
        wanted, picture = asked.id(set_id), asked.id(pid)
        caption, known = asked.text(text, MAX_TEXT), asked.text(stamp, MAX_WORDS)
        return answer(lambda: gallery.save(wanted, picture, caption, known))

    def preview_edit(request: Any) -> dict[str, Any]:
        set_id, operation, scope = asked.parts(request, 3)
        wanted, edit, where = asked.id(set_id), _operation(operation), _scope(scope)
        return answer(lambda: gallery.preview_edit(wanted, edit, where))

    def apply_edit(request: Any) -> dict[str, Any]:
        set_id, operation, scope = asked.parts(request, 3)
        wanted, edit, where = asked.id(set_id), _operation(operation), _scope(scope)
        return answer(lambda: gallery.apply_edit(wanted, edit, where))

    def trash(request: Any) -> dict[str, Any]:
        set_id, pids = asked.parts(request, 2)
        wanted, pictures = asked.id(set_id), asked.ids(pids, MAX_PIDS, 1)
        return answer(lambda: gallery.trash(wanted, pictures))

    def undo_edit(set_id: Any) -> dict[str, Any]:
        wanted = asked.id(set_id)
        return answer(lambda: gallery.undo(wanted))

    def redo_edit(set_id: Any) -> dict[str, Any]:
        wanted = asked.id(set_id)
        return answer(lambda: gallery.redo(wanted))

    return [save, preview_edit, apply_edit, trash, undo_edit, redo_edit]


def _with_reason(record: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """A record of a picture or a set that says in the page's language why it cannot be used, or be edited."""
    return {**record, **{key: texts.reason(record[key]) for key in ("reason", "locked") if record.get(key)}}


def _query(value: Any) -> dict[str, Any]:
    """A query with the keys that there are, each of its type."""
    if not isinstance(value, dict):
        raise ValueError("a query is a record")
    query: dict[str, Any] = {
        key: asked.text(value.get(key, ""), MAX_WORDS) for key in ("filter", "search", "tag", "sort")
    }
    if query["filter"] not in ("", *FILTERS) or query["sort"] not in ("", *SORTS):
        raise ValueError("there is no such filter or order")
    return {key: text for key, text in query.items() if text} | {"reverse": value.get("reverse") is True}


def _scope(value: Any) -> dict[str, Any]:
    """Which pictures an edit is about: {"pids": [...]} or {"query": {...}}, never both."""
    match value:
        case {"pids": pids, **rest} if not rest:
            return {"pids": asked.ids(pids, MAX_PIDS, 1)}
        case {"query": query, **rest} if not rest:
            return {"query": _query(query)}
    raise ValueError("an edit is about some pictures or about those of a query")


def _operation(value: Any) -> dict[str, Any]:
    """Flat and short; which operations there are, the gallery says."""
    if not isinstance(value, dict) or len(value) > 10:
        raise ValueError("an operation is a short record")
    if not all(isinstance(part, str | int | bool) and len(str(part)) <= MAX_TEXT for part in value.values()):
        raise ValueError("an operation holds texts and numbers")
    return value
