"""Preferences: pictures are generated, scored and compared by people, and become pairs to train on."""
