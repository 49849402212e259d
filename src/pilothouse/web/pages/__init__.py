"""What browsers are given, as it is."""
