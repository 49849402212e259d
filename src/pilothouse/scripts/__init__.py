"""What an existing script tells of itself, and the campaign file that is written for it; nothing here runs it."""
