"""When a result counts: intervals, verdicts and confidence, with their error rate."""
