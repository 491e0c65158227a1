"""Preferences in other programs' files: each module writes one form, reads it, or does both."""
