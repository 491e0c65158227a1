"""Captions for pictures: captioners, the policy of what is written, and the job that does it."""
