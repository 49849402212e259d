"""The append-only record: entries, their hash chain, threads and their markdown."""
