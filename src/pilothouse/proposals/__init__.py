"""What is asked for, and who said yes."""
