"""Where proposals come from that a rule alone cannot make: samplers, and sources that take turns."""
