"""What the server counts, and how Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pilothouse.fleet.job import Report
from pilothouse.ids import Epoch, JobId, ProductId
from pilothouse.operations.claim import Handover
from pilothouse.web.snapshot import Snapshot

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Figures:
    """The counters of one server, from its start on."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._claims = Counter(
            "pilothouse_claims", "Jobs handed to factories over HTTP.", ["product"], registry=self._registry
        )
        self._completions = Counter(
            "pilothouse_completions", "Reports taken in over HTTP.", ["outcome"], registry=self._registry
        )
        self._seconds = Histogram(
            "pilothouse_claim_seconds",
            "From a claim's arrival to its answer with a job, waiting included.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._outages = Counter(
            "pilothouse_outages", "Requests refused because the store or a disk failed.", registry=self._registry
        )

    def claimed(self, handed: Sequence[Handover], *, seconds: float) -> None:
        """Count an answered claim."""
        if handed:
            self._seconds.observe(seconds)
        for each in handed:
            self._claims.labels(each.product).inc()

    def completed(self, ended: Iterable[tuple[JobId, Epoch, Report] | Exception]) -> None:
        """Count the reports that were taken in."""
        for each in ended:
            if not isinstance(each, Exception):
                self._completions.labels(each[2].outcome.value).inc()

    def failed(self) -> None:
        """Count a request that the store could not serve."""
        self._outages.inc()

    def text(self, snapshot: Snapshot, *, product: ProductId | None) -> bytes:
        """Return everything in Prometheus' text form; for one product, only what is told of that product."""
        return generate_latest(_Told(self._registry, snapshot, product=product))


class _Told(CollectorRegistry):
    """What one reader may see: the counters, and the fleet as it stands."""

    def __init__(self, counters: CollectorRegistry, snapshot: Snapshot, *, product: ProductId | None) -> None:
        super().__init__(auto_describe=False)
        self._counters = counters
        self._snapshot = snapshot
        self._product = product

    def collect(self) -> Iterator[Metric]:
        """Yield each family, with the samples of other products taken out."""
        for family in (*self._counters.collect(), *_fleet(self._snapshot)):
            if self._product is not None:
                family.samples = [each for each in family.samples if each.labels.get("product") == self._product]
            yield family


def _fleet(snapshot: Snapshot) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("pilothouse_jobs", "Jobs by stage.", labels=["product", "stage"])
    for (product, stage), count in snapshot.stages.items():
        jobs.add_metric([product, stage.value], count)
    yield jobs
    sessions = GaugeMetricFamily("pilothouse_sessions", "Factories that live.", labels=["product"])
    seats = GaugeMetricFamily("pilothouse_seats", "Seats of the factories that live.", labels=["product"])
    taken = GaugeMetricFamily("pilothouse_seats_taken", "Seats that a job holds.", labels=["product"])
    for product, capacity in snapshot.capacity.items():
        sessions.add_metric([product], capacity.factories)
        seats.add_metric([product], capacity.seats)
        taken.add_metric([product], capacity.taken)
    yield from (sessions, seats, taken)
    spent = GaugeMetricFamily("pilothouse_budget_spent", "Spent in the window.", labels=["product", "engine", "unit"])
    reserved = GaugeMetricFamily(
        "pilothouse_budget_reserved", "Reserved by attempts that run.", labels=["product", "engine", "unit"]
    )
    for labels, used, kept in snapshot.spending():
        spent.add_metric(labels, used)
        reserved.add_metric(labels, kept)
    yield from (spent, reserved)
    for name, told in (("rescued", "Attempts taken back from the lost."), ("preempted", "Attempts that made room.")):
        yield CounterMetricFamily(f"pilothouse_{name}", told, value=snapshot.counters.get(name, 0))
