"""How well this machine can confine an agent, for whoever asks."""

from __future__ import annotations

from pilothouse.propose.sandbox.level import level


def confinement() -> tuple[bool, str]:
    """Return whether an agent can be confined here, and in words how, what is not held, or what is missing."""
    found = level()
    return found.confines, found.told()
