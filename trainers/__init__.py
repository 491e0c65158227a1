"""Everything that learns: run folders in, adapter files out. Knows nothing of the app."""
