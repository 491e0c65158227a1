"""The line that says what cached files take, and what its dialog asks the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.services.storage import CHOICES, InUse
from app.ui.texts import Texts

if TYPE_CHECKING:
    from app.services.studio import Studio


def server_functions(studio: Studio, texts: Texts) -> list[Callable[..., Any]]:
    """Every argument comes from the network, so its type is checked."""

    def cached(_: Any = None) -> dict[str, Any]:
        return studio.storage.look()

    def free_cached(days: Any) -> dict[str, Any]:
        """days: one of CHOICES."""
        if isinstance(days, bool) or days not in CHOICES:
            raise ValueError(f"files can be freed after {CHOICES} days without use")
        try:
            return studio.storage.free(days)
        except InUse:
            return {"error": texts("storage.in_use")}

    return [cached, free_cached]
