"""A toy flywheel that keeps the trainer's contract in milliseconds: its "model" is one number learnt from the data."""
