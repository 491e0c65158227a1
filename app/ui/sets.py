"""The further data sets of a run, as the page adds and shows them: plain functions, no Gradio.

In a draft a data set is a line of text, as a form holds it, or a record, as TOML gives it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from app.services.drafts import folder_of
from app.ui import forms
from app.ui.texts import Texts
from trainers import paths
from trainers.config import DataSet
from trainers.errors import DataError

if TYPE_CHECKING:
    from app.services.studio import Preview


def added(values: forms.Values, folder: str, *, regularisation: bool, texts: Texts) -> list[Any]:
    """`data.sets` with a folder behind the others; one that is there already changes its part instead.

    Raises DataError, in the page's language, when there is nothing to change.
    """
    wanted, name = paths.locate(folder), Path(folder).name
    if _is_same(forms.get(values, "data.folder"), wanted):
        raise DataError(texts("sets.is_main", name=name))
    sets = list(forms.get(values, "data.sets"))
    position = next((n for n, one in enumerate(sets) if _is_same(folder_of(one), wanted)), None)
    if position is None:
        return [*sets, DataSet(folder=folder, regularisation=regularisation).line()]
    known = _read(sets[position])
    if known is None or known.regularisation == regularisation:
        raise DataError(texts("sets.is_in", name=name))
    sets[position] = known.model_copy(update={"regularisation": regularisation}).line()
    return sets


def without(values: forms.Values, line: str, texts: Texts) -> list[Any]:
    """`data.sets` without the set of that line. Raises DataError when there is none, as another page removed it."""
    sets = list(forms.get(values, "data.sets"))
    position = next((n for n, one in enumerate(sets) if forms.line_of(one) == line), None)
    if position is None:
        raise DataError(texts("sets.gone"))
    return [*sets[:position], *sets[position + 1 :]]


def without_folder(values: forms.Values, folder: str) -> list[Any]:
    """`data.sets` without a folder that is to be the main one: its pictures would count twice."""
    wanted = paths.locate(folder)
    return [one for one in forms.get(values, "data.sets") if not _is_same(folder_of(one), wanted)]


def described(values: forms.Values, preview: Preview) -> list[dict[str, Any]]:
    """What the page shows of each set; those that cannot be read are named by the check.

    line: the set as text; folder: where it lies; pictures: their number, None while it is not known.
    """
    return [
        {
            "line": forms.line_of(one),
            "name": Path(known.folder).name,
            "folder": str(paths.locate(known.folder)),
            "repeats": known.repeats or 0,
            "weight": known.weight,
            "regularisation": known.regularisation,
            "pictures": preview.count(known),
        }
        for one in _sets(values)
        if (known := _read(one))
    ]


def _sets(values: forms.Values) -> Sequence[Any]:
    sets = forms.get(values, "data.sets")
    return sets if isinstance(sets, list | tuple) else ()


def _is_same(folder: str, wanted: Path) -> bool:
    return bool(folder) and paths.locate(folder) == wanted


def _read(one: Any) -> DataSet | None:
    """None for a line that is not complete, or has a mistake."""
    if not isinstance(one, str | Mapping | DataSet):
        return None
    try:
        return DataSet.model_validate(one)
    except (ValidationError, ValueError):
        return None
