"""A tiny world of captioned scenes, and the recipe of the base model that draws it."""
