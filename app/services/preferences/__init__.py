"""What the Preferences tab can ask for."""
