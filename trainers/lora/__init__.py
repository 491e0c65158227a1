"""LoRA files: what other programs call the layers, reading any of them, writing all of them, and checking what was written."""
