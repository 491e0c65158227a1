"""Runs as jobs: the queue, the workers, and the index of run folders."""
