"""The reference trainings; they import nothing of Pilothouse but its trainer SDK."""
