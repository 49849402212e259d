"""Who may do what: tokens, the roles they carry, and the one rule that says yes or no."""
