"""GitHub: a small client of our own, deliveries, and what is read of the forge."""
