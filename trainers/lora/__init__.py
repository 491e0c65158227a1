"""LoRA files: what other programs call the layers; reading any of them, writing all, and checking what was written."""
