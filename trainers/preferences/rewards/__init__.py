"""Scorers: models that say how good a picture is, for its prompt or by itself."""
