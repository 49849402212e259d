"""Why a job runs where it runs, or why it does not run yet.

What stands against the job itself comes first, then what stands against it on each factory. The first reason is the
headline: with it gone, the next one is what would be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pilothouse.canonical import Json
from pilothouse.fleet.budget import Held, Hold
from pilothouse.fleet.capability import Offer, fit, parse, unmet
from pilothouse.fleet.graph import hopeless
from pilothouse.fleet.job import EdgeKind, Priority, Shape
from pilothouse.fleet.score import DEFAULT, FactoryFacts, JobFacts, Score, Weights, precedence, score
from pilothouse.fleet.stages import ENDS, LEASED, Stage
from pilothouse.ids import FactoryName, JobId

NAMED_MAX = 5
"""Jobs or factories that one sentence names."""


class Code(StrEnum):
    """What a reason says, for programs."""

    RUNS_ON = "runs_on"
    ENDED = "ended"
    BLOCKED_BY = "blocked_by"
    IN_REVIEW = "in_review"
    AWAITS_SHIPPING = "awaits_shipping"
    BUDGET_PAUSED = "budget_paused"
    BUDGET_EXHAUSTED = "budget_exhausted"
    LOCK_HELD = "lock_held"
    NO_FACTORY = "no_factory"
    NO_CAPABLE_FACTORY = "no_capable_factory"
    TOO_LARGE = "too_large"
    FACTORY_STALE = "factory_stale"
    FACTORY_DRAINING = "factory_draining"
    BREAKER_OPEN = "breaker_open"
    SEAT_RESERVED = "seat_reserved"
    SEATS_TAKEN = "seats_taken"
    ROOM_KEPT = "room_kept"
    BEHIND = "behind"
    NEXT = "next"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """A job that has not come far enough for the one that waits for it."""

    job: JobId
    stage: Stage
    kind: EdgeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """The waiting jobs that a factory would take before this one: how many, and the first of them."""

    count: int = 0
    best: JobId | None = None
    total: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """What is known of the job. `end` says how it ended, `lock_holder` who has its lock, `budget` what holds it."""

    id: JobId
    stage: Stage
    shape: Shape
    priority: Priority
    age_seconds: float
    factory: FactoryName | None = None
    stopping: bool = False
    end: str = ""
    waits_for: tuple[Waited, ...] = ()
    lock_holder: JobId | None = None
    budget: Held | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryView:
    """What is known of a factory of the job's product.

    `pools` are those it claims from, None for all. `breaker_open` and `health` are of the job's engine there, `budget`
    is what holds the job at this factory's price, and `reserved_for` the job that its seats are kept for.
    """

    name: FactoryName
    offer: Offer
    engines: frozenset[str] = frozenset()
    pools: frozenset[str] | None = None
    seats: int = 1
    seats_free: int = 1
    gpus: int = 0
    gpus_free: int = 0
    usd_per_hour: float | None = None
    health: float = 1.0
    familiar: bool = False
    stale: bool = False
    draining: bool = False
    breaker_open: bool = False
    reserved_for: JobId | None = None
    budget: Held | None = None
    ahead: Ahead = field(default_factory=Ahead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that is so, what would change it, and the jobs and factories that it is about."""

    code: Code
    text: str
    fix: str = ""
    jobs: tuple[JobId, ...] = ()
    factories: Mapping[FactoryName, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        """Return the reason as JSON values."""
        return {
            "code": self.code.value,
            "text": self.text,
            "fix": self.fix,
            "jobs": list(self.jobs),
            "factories": {str(name): text for name, text in self.factories.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A factory that could run the job, how it scores there, and what stands against it now, if anything does."""

    factory: FactoryName
    score: Score
    against: Code | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the candidate as JSON values."""
        against = None if self.against is None else self.against.value
        return {"factory": self.factory, "score": self.score.as_json(), "against": against}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where a job stands and why: the first reason is the headline. Candidates come best first."""

    job: JobId
    stage: Stage
    reasons: tuple[Reason, ...]
    candidates: tuple[Candidate, ...] = ()

    @property
    def headline(self) -> str:
        """One sentence for a person."""
        return self.reasons[0].text

    def as_json(self) -> dict[str, Json]:
        """Return the explanation as JSON values."""
        return {
            "job": self.job,
            "stage": self.stage.value,
            "headline": self.headline,
            "reasons": [reason.as_json() for reason in self.reasons],
            "candidates": [candidate.as_json() for candidate in self.candidates],
        }


def explain(job: JobView, factories: Sequence[FactoryView], weights: Weights = DEFAULT) -> Explanation:
    """Return why the job stands where it stands."""
    lacks = {factory.name: lacking(job.shape, factory) for factory in factories}
    capable = [factory for factory in factories if not lacks[factory.name]]
    candidates = [
        Candidate(factory=factory.name, score=_score(job, factory, weights), against=_against(job, factory))
        for factory in capable
    ]
    candidates.sort(key=lambda candidate: (-candidate.score.total, candidate.factory))
    settled = _settled(job)
    reasons = [settled] if settled is not None else [*_of_job(job), *_of_factories(job, factories, capable, lacks)]
    shown = () if job.stage in ENDS else tuple(candidates)
    return Explanation(job=job.id, stage=job.stage, reasons=tuple(reasons), candidates=shown)


def ahead_of(job: JobFacts, total: float, rivals: Iterable[tuple[JobId, JobFacts, float]]) -> Ahead:
    """Return which of the rivals, with their scores at the same factory, it would take before the job."""
    mine = precedence(job, total)
    before = [(precedence(facts, scored), rival, scored) for rival, facts, scored in rivals]
    before = [item for item in before if item[0] < mine]
    if not before:
        return Ahead()
    _, best, scored = min(before)
    return Ahead(count=len(before), best=best, total=scored)


def lacking(shape: Shape, factory: FactoryView) -> tuple[str, ...]:
    """Return what the factory would never have for jobs of the shape, one text for each thing."""
    texts = [str(requirement) for requirement in unmet((parse(text) for text in shape.requires), factory.offer)]
    if shape.engine and shape.engine not in factory.engines:
        texts.append(f"engine {shape.engine}")
    if factory.pools is not None and shape.pool not in factory.pools:
        texts.append(f"pool {shape.pool}")
    return (*texts, *_too_small(shape, factory))


def _too_small(shape: Shape, factory: FactoryView) -> list[str]:
    wanted = (("seats", shape.seats, factory.seats), ("gpus", shape.gpus, factory.gpus))
    return [f"{what} ({need} asked, {has} there)" for what, need, has in wanted if need > has]


def _score(job: JobView, factory: FactoryView, weights: Weights) -> Score:
    shape = job.shape
    facts = JobFacts(
        priority=job.priority,
        age_seconds=job.age_seconds,
        fit=fit((parse(text) for text in shape.requires), factory.offer),
        engine_match=bool(shape.prefers_engine) and shape.prefers_engine in factory.engines,
        usd=shape.cost.usd,
    )
    load = 1.0 - factory.seats_free / factory.seats if factory.seats else 1.0
    there = FactoryFacts(
        load=min(1.0, max(0.0, load)),
        health=factory.health,
        usd_per_hour=factory.usd_per_hour,
        familiar=factory.familiar,
    )
    return score(facts, there, weights)


def _against(job: JobView, factory: FactoryView) -> Code | None:
    """Return what keeps the job from starting at a factory that could run it; the most lasting comes first."""
    roomy = job.shape.seats <= factory.seats_free and job.shape.gpus <= factory.gpus_free
    mine = factory.reserved_for == job.id
    hindrances = (
        (factory.stale, Code.FACTORY_STALE),
        (factory.draining, Code.FACTORY_DRAINING),
        (factory.breaker_open, Code.BREAKER_OPEN),
        (factory.budget is not None, _budget_code(factory.budget)),
        (factory.reserved_for is not None and not mine, Code.SEAT_RESERVED),
        (not roomy, Code.ROOM_KEPT if mine else Code.SEATS_TAKEN),
        (factory.ahead.count > 0 and not mine, Code.BEHIND),
    )
    return next((code for stands, code in hindrances if stands), None)


def _settled(job: JobView) -> Reason | None:
    """Return the reason of a job that does not wait for a factory."""
    if job.stage in ENDS:
        how = f": {job.end}" if job.end else ""
        return Reason(code=Code.ENDED, text=f"It has ended as {job.stage.value}{how}.")
    if job.stage in LEASED:
        where = job.factory or FactoryName("a factory")
        doing = "runs on" if job.stage is Stage.BUILDING else "is assigned to"
        asked = ", and has been asked to make room" if job.stopping else ""
        return Reason(code=Code.RUNS_ON, text=f"It {doing} {where}{asked}.", factories={where: ""})
    if job.stage is Stage.BLOCKED:
        return _blocked(job.waits_for)
    if job.stage is Stage.REVIEW:
        return Reason(
            code=Code.IN_REVIEW, text="It has succeeded and waits for its reviewers.", fix="approve or decline it."
        )
    if job.stage is Stage.TESTING:
        return Reason(code=Code.AWAITS_SHIPPING, text="It has succeeded and waits to be shipped.", fix="ship it.")
    return None


def _blocked(waits_for: Sequence[Waited]) -> Reason:
    lost = [waited for waited in waits_for if hopeless(waited.kind, waited.stage)]
    told = [f"{waited.job} ({waited.stage.value})" for waited in (*lost, *(w for w in waits_for if w not in lost))]
    fix = f"{lost[0].job} will never ship: cancel this job, or submit it without." if lost else ""
    return Reason(
        code=Code.BLOCKED_BY,
        text=f"It waits for {_few(told)}." if told else "It waits for jobs that are just being settled.",
        fix=fix,
        jobs=tuple(waited.job for waited in waits_for),
    )


def _of_job(job: JobView) -> list[Reason]:
    """Return what keeps the job from starting anywhere."""
    reasons = []
    if job.budget is not None:
        reasons.append(Reason(code=_budget_code(job.budget), text=f"{job.budget.why}.", fix=f"{job.budget.fix}."))
    if job.lock_holder is not None:
        text = f"The lock {job.shape.lock} is held by {job.lock_holder}."
        reasons.append(Reason(code=Code.LOCK_HELD, text=text, fix="wait for that job.", jobs=(job.lock_holder,)))
    return reasons


def _budget_code(held: Held | None) -> Code:
    return Code.BUDGET_PAUSED if held is not None and held.hold is Hold.PAUSED else Code.BUDGET_EXHAUSTED


def _of_factories(
    job: JobView,
    factories: Sequence[FactoryView],
    capable: Sequence[FactoryView],
    lacks: Mapping[FactoryName, tuple[str, ...]],
) -> list[Reason]:
    """Return what keeps the job from starting at the factories there are; where it can start, that comes first."""
    if not factories:
        return [Reason(code=Code.NO_FACTORY, text="No factory serves this product.", fix="enrol and start a factory.")]
    if not capable:
        return [_incapable(job, factories, lacks)]
    by_code: dict[Code | None, list[FactoryView]] = {}
    for factory in capable:
        by_code.setdefault(_against(job, factory), []).append(factory)
    order = [None, Code.BEHIND, Code.ROOM_KEPT, *(code for code in Code if code not in {Code.BEHIND, Code.ROOM_KEPT})]
    return [_told(code, by_code[code]) for code in order if code in by_code]


def _incapable(job: JobView, factories: Sequence[FactoryView], lacks: Mapping[FactoryName, tuple[str, ...]]) -> Reason:
    """Return why no factory will ever do; too large is the job only if size is all that one of them lacks."""
    told = {name: ", ".join(texts) for name, texts in lacks.items()}
    size = [factory for factory in factories if lacks[factory.name] == tuple(_too_small(job.shape, factory))]
    shown = _few([f"{name} lacks {texts}" for name, texts in told.items()], between="; ")
    if size:
        text = f"It is larger than any factory that could run it: {shown}."
        return Reason(
            code=Code.TOO_LARGE, text=text, fix="start a larger factory, or submit a smaller job.", factories=told
        )
    return Reason(
        code=Code.NO_CAPABLE_FACTORY,
        text=f"No factory can run it: {shown}.",
        fix="start a factory that has this, or submit the job with other requirements.",
        factories=told,
    )


def _told(code: Code | None, factories: Sequence[FactoryView]) -> Reason:
    """Return what is so for these factories."""
    names = _few([factory.name for factory in factories])
    about = {factory.name: "" for factory in factories}
    match code:
        case None:
            return Reason(code=Code.NEXT, text=f"It is the next job of {names}.", factories=about)
        case Code.BEHIND:
            return _behind(factories)
        case Code.SEAT_RESERVED:
            jobs = tuple(factory.reserved_for for factory in factories if factory.reserved_for is not None)
            text = f"The seats of {names} are kept for {_few(jobs)}."
            fix = "wait, or give it a timeout so short that it ends before the other could begin."
            return Reason(code=code, text=text, fix=fix, jobs=jobs, factories=about)
        case Code.BUDGET_PAUSED | Code.BUDGET_EXHAUSTED:
            held = next(factory.budget for factory in factories if factory.budget is not None)
            return Reason(code=code, text=f"On {names}: {held.why}.", fix=f"{held.fix}.", factories=about)
        case _:
            text, fix = _SENTENCES[code]
            return Reason(code=code, text=text.format(names), fix=fix, factories=about)


_SENTENCES: Mapping[Code, tuple[str, str]] = {
    Code.FACTORY_STALE: ("Nothing has been heard of {} for too long.", "see whether the factory still runs."),
    Code.FACTORY_DRAINING: ("{} takes no new jobs: it is draining.", "resume the factory."),
    Code.BREAKER_OPEN: ("The job's engine has failed too often on {} and rests.", "mend it there; it is tried again."),
    Code.SEATS_TAKEN: ("All that {} has for it is taken now.", "wait, or start another factory."),
    Code.ROOM_KEPT: ("The seats of {} are kept for it until enough are free.", ""),
}


def _behind(factories: Sequence[FactoryView]) -> Reason:
    """Return how many come before it where fewest do."""
    first = min(factories, key=lambda factory: factory.ahead.count)
    best = first.ahead.best
    many = "1 job scores" if first.ahead.count == 1 else f"{first.ahead.count} jobs score"
    text = f"{many} higher for {first.name}"
    return Reason(
        code=Code.BEHIND,
        text=f"{text}, first of them {best} with {first.ahead.total:.2f}." if best is not None else f"{text}.",
        fix="wait: its score grows with its age.",
        jobs=(best,) if best is not None else (),
        factories={factory.name: f"{factory.ahead.count} ahead" for factory in factories},
    )


def _few(texts: Sequence[str], *, between: str = ", ") -> str:
    shown = between.join(texts[:NAMED_MAX])
    return shown if len(texts) <= NAMED_MAX else f"{shown} and {len(texts) - NAMED_MAX} more"
