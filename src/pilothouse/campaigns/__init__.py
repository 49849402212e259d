"""What a campaign is, and what its loop does next."""
