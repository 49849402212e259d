"""What a logbook says once, above its entries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadHeader:
    """The scope and the fixed baseline of a thread, in the words of the page; empty ones are shown as not stated."""

    topic: str
    goal: str = ""
    metrics: str = ""
    constraints: str = ""
    baseline_date: str = ""
    baseline_code: str = ""
    baseline_numbers: str = ""
