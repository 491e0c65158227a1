"""The table of the files that the draft's base model consists of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.ui.draft import DraftEditor

if TYPE_CHECKING:
    from app.services.studio import Studio


def server_function(studio: Studio, editor: DraftEditor) -> Callable[[Any], dict[str, Any]]:
    """What the table asks for."""

    def parts(_: Any = None) -> dict[str, Any]:
        """Parts of the draft's base, never of one that the caller names."""
        return dataclasses.asdict(studio.parts(editor.current().after))

    return parts
