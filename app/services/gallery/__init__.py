"""Data sets as the page shows them: pictures, captions, what is wrong with them, and edits that can be undone."""

from app.services.gallery.context import Context
from app.services.gallery.flags import FILTERS
from app.services.gallery.query import SORTS
from app.services.gallery.service import Gallery

__all__ = ["FILTERS", "SORTS", "Context", "Gallery"]
