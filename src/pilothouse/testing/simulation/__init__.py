"""The real core on a store in memory, under invented trouble that a seed decides and no clock hurries."""
