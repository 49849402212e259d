"""An agent that does everything wrong that an agent can, one thing after the other."""
