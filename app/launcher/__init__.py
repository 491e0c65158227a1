"""What launch.py does before Atelier's packages are installed: standard library only."""
