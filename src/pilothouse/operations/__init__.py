"""One verb per file: load, decide, apply in one transaction."""
