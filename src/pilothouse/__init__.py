"""Pilothouse runs unattended training that its owners can trust."""

__version__ = "0.1.0"
