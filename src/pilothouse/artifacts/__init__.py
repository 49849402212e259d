"""What a result is made from: checkpoint lineage."""
