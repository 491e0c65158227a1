"""The application: it shows and starts runs, and never trains."""
