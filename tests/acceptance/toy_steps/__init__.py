"""A campaign in which one proposal is confirmed and one rolled back, and a command line that dies on the way."""
