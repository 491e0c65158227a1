"""Captioning as the page asks for it: captioners and their settings, tries, jobs, and what they wrote."""

from app.services.captioning.service import Captioning

__all__ = ["Captioning"]
