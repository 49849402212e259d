"""Boards with places and jobs, for the tests of the board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pilothouse.fleet.board import RESERVE_AFTER_SECONDS, Board
from pilothouse.fleet.capability import Offer
from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Priority, Shape
from pilothouse.fleet.place import HeldJob, Place
from pilothouse.fleet.score import Weights
from pilothouse.ids import Epoch, FactoryName, JobNumber, ProductId, SessionNumber, ShapeNumber

DEMO, OTHER = ProductId("demo"), ProductId("other")
HERE, THERE = SessionNumber(1), SessionNumber(2)


SECOND = 1_000_000


NOW = 1_767_000_000 * SECOND
"""Some time in 2025, in microseconds: large, as real times are, so that rounding shows."""


SMALL = Shape(product=DEMO, pool="local", timeout_seconds=600.0)


LARGE = replace(SMALL, seats=4)


OLD = RESERVE_AFTER_SECONDS + 1
LONG, SHORT = replace(SMALL, timeout_seconds=3600.0), replace(SMALL, timeout_seconds=60.0)


def board_of(*shapes: Shape) -> Board:
    """Return a board that knows these shapes by their positions, counted from 1."""
    board = Board()
    board.shapes.update({ShapeNumber(number): shape for number, shape in enumerate(shapes, start=1)})
    return board


def open_place(
    board: Board, session: SessionNumber = HERE, *, seats: int = 4, gpus: int = 0, product: ProductId = DEMO
) -> Place:
    """Return a new place of a factory without anything special."""
    place = Place(
        session=session,
        factory=FactoryName(f"factory-{session}"),
        product=product,
        offer=Offer.read(()),
        engines=frozenset(),
        seats=seats,
        gpus=gpus,
    )
    board.open_place(place)
    return place


def ready(number: int, *, shape: int = 1, priority: Priority = Priority.MEDIUM, age_seconds: float = 0.0) -> Ready:
    """Return a job that waits since so long."""
    created = NOW - round(age_seconds * SECOND)
    return Ready(JobNumber(number), ShapeNumber(shape), priority.rank, created, Epoch(0), 0)


def add(board: Board, *jobs: Ready) -> None:
    """Let jobs wait."""
    for job in jobs:
        board.add(job)


def pick(
    board: Board,
    session: SessionNumber = HERE,
    *,
    seats: int = 99,
    now_us: int = NOW,
    pools: Sequence[str] | None = None,
    funds: Callable[[Shape, Place], str | None] | None = None,
    weights: Weights | None = None,
) -> int | None:
    """Return the number of the job that the session is given."""
    picked = board.pick(session, seats=seats, now_us=now_us, pools=pools, funds=funds, weights=weights)
    return None if picked is None else picked.number


def pick_all(board: Board, session: SessionNumber = HERE, *, now_us: int = NOW) -> list[int]:
    """Return the numbers of all jobs that the session is given until nothing more may start."""
    picked: list[int] = []
    while (number := pick(board, session, now_us=now_us)) is not None:
        picked.append(number)
    return picked


def held_job(number: int, session: SessionNumber, *, shape: int, waits_for: tuple[JobNumber, ...] = ()) -> HeldJob:
    """Return a critical job that others make room for."""
    return HeldJob(
        number=JobNumber(number),
        epoch=Epoch(1),
        shape=LARGE,
        shape_number=ShapeNumber(shape),
        priority=0,
        created_us=NOW,
        claimed_us=NOW,
        marks=0,
        session=session,
        waits_for=waits_for,
    )
