"""The loop's figures: what its decisions find on noisy surfaces, its pauses, and how soon it sees a fault."""
