"""Where proposals come from that a rule alone cannot make: a model, Optuna's samplers, sources that take turns."""
