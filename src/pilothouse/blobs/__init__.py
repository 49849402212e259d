"""Content-addressed folders."""
