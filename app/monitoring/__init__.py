"""What is measured while runs go: their series, and the machine."""
