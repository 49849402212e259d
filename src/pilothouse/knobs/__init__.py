"""What may change: knobs, configs, effective deltas and the change budget."""
