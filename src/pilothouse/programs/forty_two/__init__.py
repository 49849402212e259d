"""Texas 42 played with open hands: a perfect-play oracle, the data it makes, and the network that learns from it."""
