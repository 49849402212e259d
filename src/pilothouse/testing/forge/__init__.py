"""Forges and chats for tests: strict, over real HTTP on the loopback, with every fault that the real ones have."""
