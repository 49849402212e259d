"""The database behind `ports.store`."""
