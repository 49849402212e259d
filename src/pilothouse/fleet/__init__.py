"""The fleet's rules: jobs, stages, claims, leases, retries."""
