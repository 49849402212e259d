"""What one scheduling decision costs: the pure board, without a store."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from pilothouse.canonical import Json
from pilothouse.fleet.board import Board
from pilothouse.fleet.capability import Offer
from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Shape
from pilothouse.fleet.place import Place
from pilothouse.ids import Epoch, FactoryName, JobNumber, ProductId, SessionNumber, ShapeNumber
from pilothouse.testing.fleet_bench.probe import quantile

FACTORIES = 64
SEATS = 4
JOBS = 50_000
SHAPES = (1, 20, 100)
NOW_US = 1_800_000_000_000_000


def full_board(*, shapes: int, jobs: int) -> Board:
    """Return a board on which this many jobs of this many shapes wait, and every seat is free."""
    board = Board()
    for number in range(shapes):
        board.shapes[ShapeNumber(number)] = Shape(
            product=ProductId(f"product-{number % 4}"),
            pool="local",
            requires=("python>=3.11", "os:any") if number % 2 else ("cores>=2",),
            prefers_engine="local" if number % 3 else "",
            timeout_seconds=600.0 + number,
        )
    waiting = (Ready(JobNumber(n), ShapeNumber(n % shapes), n % 4, NOW_US - n * 1000, Epoch(0), 0) for n in range(jobs))
    board.load(waiting)
    for number in range(FACTORIES):
        board.open_place(
            Place(
                session=SessionNumber(number),
                factory=FactoryName(f"factory-{number}"),
                product=ProductId("*"),
                offer=Offer.read(("python==3.12", "cores==16", "memory==64")),
                engines=frozenset({"local"}),
                seats=SEATS,
                gpus=0,
            )
        )
    return board


def time_decisions(*, shapes: int, jobs: int = JOBS) -> dict[str, Json]:
    """Return the microseconds of a decision while all seats are kept full until nothing waits."""
    board = full_board(shapes=shapes, jobs=jobs)
    costs: list[float] = []
    turn = 0
    while len(board):
        session = SessionNumber(turn % FACTORIES)
        turn += 1
        place = board.places[session]
        for number in list(place.held):
            board.release(number)
        for _ in range(SEATS):
            began = perf_counter()
            job = board.pick(session, seats=place.seats_free, now_us=NOW_US + turn)
            costs.append((perf_counter() - began) * 1e6)
            if job is None:
                break
    return {
        "mean_us": sum(costs) / len(costs),
        "p50_us": quantile(costs, 0.5),
        "p99_us": quantile(costs, 0.99),
        "decisions": len(costs),
    }


def decisions(progress: Callable[[str], None]) -> dict[str, Json]:
    """Return what a decision costs by the number of shapes that wait at the same time."""
    found: dict[str, Json] = {"factories": FACTORIES, "seats": SEATS, "jobs": JOBS, "aim_us": 50}
    for shapes in SHAPES:
        progress(f"decisions among {shapes} shapes")
        found[f"shapes_{shapes}"] = time_decisions(shapes=shapes)
    return found
