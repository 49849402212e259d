"""The fixed numbers of the judging protocol, which rules, replays and records share."""

from __future__ import annotations

CALIBRATION_RUNS = 16
"""Runs of the unchanged configuration with which a campaign begins: its noise floor and its first baseline arm."""
CONFIRMATION_RUNS = 8
"""Fresh runs that re-measure a promoted change; they are the first runs of the new baseline arm."""
CONFIRMATION_LEVEL = 0.2
"""p-value up to which fresh runs confirm a promotion; above it the baseline rolls back."""
PROMISED = 0.1
"""Promotions of changes that are none which a campaign may expect, however many proposals it tries."""
