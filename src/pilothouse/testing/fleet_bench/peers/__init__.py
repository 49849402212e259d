"""Programs that drain another queue and print one JSON line; each runs in the peers' own interpreter, not in ours."""
