"""Valid values with everything filled in, for tests that care about one field of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pilothouse.campaigns.record import Campaign, GoldenSet, Incident, Owner, Promotion, Run, Trial, TrialState
from pilothouse.canonical import Json, digest
from pilothouse.evidence.verdict import Confidence, Direction, Verdict
from pilothouse.evidence.verdict import Outcome as Answer
from pilothouse.fleet.job import Artifact, Job, JobSpec, NewJob, Outcome, Priority, Report
from pilothouse.fleet.stages import LEASED, Stage
from pilothouse.ids import (
    ArtifactDigest,
    BootId,
    CampaignName,
    Epoch,
    FactoryName,
    JobId,
    JobNumber,
    ProductId,
    ProposalId,
    RunId,
    SessionNumber,
    ShapeNumber,
)
from pilothouse.knobs.delta import Change
from pilothouse.logbook.chain import link
from pilothouse.logbook.entry import Entry, NewEntry
from pilothouse.proposals.proposal import Approval, Proposal, Risk, State, Subject
from pilothouse.testing.clock import BEGIN

PRODUCT = ProductId("demo")
CAMPAIGN = CampaignName("forty-two")
FACTORY = FactoryName("here")
BOOT = BootId("boot-1")
CONFIG: Mapping[str, Json] = {"learning_rate": 3e-5, "layers": 4, "preset": "nano", "tie": True, "seeds": [1, 2]}


def make_digest(name: str) -> ArtifactDigest:
    """Return a well-formed digest that is the same for the same name."""
    return ArtifactDigest(digest(name))


def make_spec(
    *, kind: str = "train", campaign: str = CAMPAIGN, trial: int = 1, seed: int = 7, seats: int = 1, restarts: int = 1
) -> JobSpec:
    """Return a spec with every field that JSON has to carry."""
    return JobSpec(
        kind=kind,
        command=("python", "-m", "train"),
        config=CONFIG,
        seed=seed,
        campaign=campaign,
        trial=trial,
        inputs={"tokens": (make_digest("tokens-0"), make_digest("tokens-1"))},
        artifacts=("checkpoint",),
        metrics=("loss",),
        seats=seats,
        memory_gb=2.0,
        restarts=restarts,
    )


def make_new_job(
    number: int,
    *,
    product: ProductId = PRODUCT,
    key: str | None = None,
    pool: str = "local",
    priority: Priority = Priority.MEDIUM,
    spec: JobSpec | None = None,
) -> NewJob:
    """Return a new job whose id and key follow from the number."""
    return NewJob(
        id=JobId(f"job-{product}-{number}"),
        product=product,
        pool=pool,
        key=f"step/{number}" if key is None else key,
        spec=make_spec() if spec is None else spec,
        priority=priority,
    )


def make_job(
    *,
    number: int = 1,
    stage: Stage = Stage.QUEUED,
    epoch: int = 0,
    priority: Priority = Priority.MEDIUM,
    created_at: datetime = BEGIN,
    pool: str = "local",
    seats: int = 1,
) -> Job:
    """Return a stored job; one in a leased stage has its holder."""
    held = stage in LEASED
    return Job(
        number=JobNumber(number),
        id=JobId(f"job-{number}"),
        product=PRODUCT,
        pool=pool,
        key=f"step/{number}",
        shape=ShapeNumber(1),
        stage=stage,
        epoch=Epoch(epoch),
        priority=priority,
        created_at=created_at,
        changed_at=created_at,
        seats=seats,
        parent=None,
        session=SessionNumber(1) if held else None,
        factory=FACTORY if held else None,
        boot=BOOT if held else None,
        failures=0,
        preemptions=0,
        losses=0,
        waiting=0,
        marks=0,
        stop_at=None,
    )


def make_artifact(name: str = "checkpoint", *, content: str = "weights") -> Artifact:
    """Return a sealed folder."""
    return Artifact(name=name, digest=make_digest(content), size_bytes=1234, meta={"step": 100, "loss": float("inf")})


def make_report(
    outcome: Outcome = Outcome.SUCCEEDED,
    *,
    detail: str = "",
    artifacts: tuple[Artifact, ...] = (),
    metrics: Mapping[str, float] | None = None,
    damaged: ArtifactDigest | None = None,
) -> Report:
    """Return a report of an attempt that took 2.5 seconds."""
    return Report(
        outcome=outcome,
        detail=detail,
        exit_code=0 if outcome is Outcome.SUCCEEDED else 1,
        metrics={"loss": 1.25} if metrics is None else metrics,
        artifacts=artifacts,
        seconds=2.5,
        peak_memory_mb=64.5,
        damaged=damaged,
    )


def make_campaign(
    *, product: ProductId = PRODUCT, name: CampaignName = CAMPAIGN, owner: Owner | None = None
) -> Campaign:
    """Return a campaign that has just been opened."""
    definition: Mapping[str, Json] = {"campaign": {"name": name, "kind": "flywheel"}, "decision": {"looks": [3, 5]}}
    return Campaign(
        product=product,
        name=name,
        kind="flywheel",
        definition=definition,
        definition_digest=digest(definition),
        config=CONFIG,
        created_at=BEGIN,
        owner=owner,
        halt=None,
        last_error="",
        next_action="",
    )


def make_verdict() -> Verdict:
    """Return an improvement."""
    return Verdict(
        outcome=Answer.IMPROVED,
        metric="q_gap",
        direction=Direction.MIN,
        baseline=2.5,
        candidate=2.0,
        difference=-0.5,
        shrunk=-0.4,
        low=-0.75,
        high=-0.25,
        p=0.001,
        alpha=0.05,
        alpha_spent=0.05,
        alpha_left=0.0,
        baseline_runs=1,
        candidate_runs=1,
        examples=400,
        clusters=40,
        method="paired differences, clustered by deal",
        scope="the sampling of evaluation examples",
        confidence=Confidence.EXPLORATORY,
    )


def make_trial(number: int, *, product: ProductId = PRODUCT, verdict: Verdict | None = None) -> Trial:
    """Return a trial, judged when it has a verdict."""
    return Trial(
        product=product,
        campaign=CAMPAIGN,
        number=number,
        proposal=ProposalId(f"proposal-{number}"),
        config=CONFIG,
        state=TrialState.RUNNING if verdict is None else TrialState.JUDGED,
        started_at=BEGIN,
        ended_at=None if verdict is None else BEGIN,
        verdict=verdict,
        metrics={"loss": 1.5, "worst": float("inf")},
        seconds={"train": 12.25},
    )


def make_run(number: int, job: JobId, *, product: ProductId = PRODUCT) -> Run:
    """Return a run of the job."""
    return Run(
        id=RunId(f"run-{product}-{number}"), product=product, campaign=CAMPAIGN, trial=number, seed=number, job=job
    )


def make_promotion(trial: int, *, product: ProductId = PRODUCT) -> Promotion:
    """Return a move of the baseline to the trial; trial 0 has no checkpoint."""
    return Promotion(
        product=product,
        campaign=CAMPAIGN,
        trial=trial,
        checkpoint=make_digest(f"checkpoint-{trial}") if trial else None,
        samples=make_digest(f"samples-{trial}"),
        config=CONFIG,
        reason="improved",
        at=BEGIN,
    )


def make_golden(name: str = "golden", *, product: ProductId = PRODUCT, content: str = "deals") -> GoldenSet:
    """Return a golden set that nobody has looked at."""
    return GoldenSet(product=product, campaign=CAMPAIGN, name=name, digest=make_digest(content), looks=0)


def make_incident(job: JobId, *, product: ProductId = PRODUCT, diagnosis: str = "silent") -> Incident:
    """Return an incident of the job's first attempt."""
    return Incident(
        product=product,
        campaign=CAMPAIGN,
        job=job,
        epoch=1,
        at=BEGIN,
        diagnosis=diagnosis,
        evidence="no line for 600 s",
        response="restart",
    )


def make_proposal(number: int, *, product: ProductId = PRODUCT) -> Proposal:
    """Return an open proposal that changes two knobs."""
    return Proposal(
        id=ProposalId(f"proposal-{number}"),
        product=product,
        campaign=CAMPAIGN,
        number=number,
        parent_digest=digest(CONFIG),
        config=CONFIG,
        changes=(
            Change(knob="layers", before=2, after=4),
            Change(knob="preset", before=None, after="nano"),
        ),
        why_not_identical="",
        rationale="deeper sees further",
        hypothesis="the gap falls",
        risk=Risk.LOW,
        rollback="promote the parent again",
        source="person",
        subject=Subject(
            config_digest=digest(CONFIG),
            code_commit="c0ffee",
            evaluation_digest=make_digest("deals"),
            cost_ceiling="1 gpu hour",
            pool="local",
        ),
        state=State.OPEN,
        created_at=BEGIN,
        refusal="",
    )


def make_approval(
    *, product: ProductId = PRODUCT, waiver: bool = False, expires_at: datetime | None = None
) -> Approval:
    """Return a yes to one subject, or a waiver of all."""
    return Approval(
        product=product,
        campaign=CAMPAIGN,
        subject_digest="*" if waiver else make_digest("subject"),
        approver="ada",
        waiver=waiver,
        reason="a demonstration" if waiver else "",
        granted_at=BEGIN,
        expires_at=expires_at,
    )


def make_entry(previous: Entry | None = None, *, product: ProductId = PRODUCT, thread: str = CAMPAIGN) -> Entry:
    """Return an entry that follows the previous one, or the first of its thread."""
    body = NewEntry(
        label="trial",
        hypothesis="more data\nhelps",
        command="pilothouse campaign run",
        config="learning_rate=3e-5",
        result="q_gap 2.5 → 2.0",
        interpretation="it helped",
        next_action="go on",
        confidence="exploratory",
        evidence={"verdict": make_verdict().as_json(), "digests": [make_digest("samples")]},
    )
    return link(previous, product=product, thread=thread, body=body, now=BEGIN)
