"""Is a run well: observation, diagnosis, response."""
