"""The error of a set-up that cannot go on."""

from __future__ import annotations

from trainers.errors import AtelierError


class SetupError(AtelierError):
    """The environment cannot be made. The message says what happened and why, the hint what to do."""
