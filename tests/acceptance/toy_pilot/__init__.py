"""A trainer and its campaign, each run of which takes milliseconds."""
