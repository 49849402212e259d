"""The factory process: claim, launch, observe, report."""
