"""The long runs: kills, chaos, and the check that the tests would notice a missing guard."""
