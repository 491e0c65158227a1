"""Commands that print the figures of `benchmarks/RESULTS.md`: `python -m benchmarks.NAME`."""
