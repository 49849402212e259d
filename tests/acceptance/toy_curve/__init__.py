"""A toy whose curve tells where it ends."""
