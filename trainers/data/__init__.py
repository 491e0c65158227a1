"""From a folder of pictures to batches: scan, cut, encode once, draw by sample id."""
