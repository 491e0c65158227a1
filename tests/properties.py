"""Settings of property tests: no deadline, as CI machines pause; no database, which would lie in the checkout."""

from __future__ import annotations

from hypothesis import settings

properties = settings(deadline=None, database=None)
