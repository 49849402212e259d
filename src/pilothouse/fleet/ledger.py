"""A line of the ledger: what an attempt has reserved of its product's budgets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pilothouse.fleet.job import Cost
from pilothouse.ids import Epoch, JobNumber, ProductId


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What one attempt may use, counted from its claim at `at` until it is settled.

    `engine` is the job's own; every budget that applies to it counts the same line.
    """

    job: JobNumber
    epoch: Epoch
    product: ProductId
    engine: str
    cost: Cost
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """An attempt whose cost is known now: what it had reserved, and what it has spent."""

    reservation: Reservation
    spent: Cost
