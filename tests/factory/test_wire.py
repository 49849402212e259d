"""Every value of the fleet survives the line between two processes."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.fleet import wire
from pilothouse.fleet.job import Artifact, Job, JobSpec, Outcome, Priority, Progress, Report
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ArtifactDigest, BootId, Epoch, FactoryName, JobId, ProductId

texts = st.text(max_size=8)
seconds = st.floats(0, 1e9)
numbers = st.floats(allow_nan=False)
counts = st.integers(0, 2**40)
digests = st.binary(min_size=32, max_size=32).map(lambda data: ArtifactDigest(data.hex()))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
words = st.lists(texts, max_size=3).map(tuple)
times = st.datetimes(timezones=st.just(UTC))

specs = st.builds(
    JobSpec,
    kind=texts,
    command=words,
    config=st.dictionaries(texts, json_values, max_size=3),
    seed=st.integers(),
    campaign=texts,
    trial=counts,
    inputs=st.dictionaries(texts, st.lists(digests, max_size=2).map(tuple), max_size=2),
    artifacts=words,
    metrics=words,
    seats=counts,
    memory_gb=seconds,
    timeout_seconds=seconds,
    grace_seconds=seconds,
    silent_after_seconds=seconds,
    restarts=counts,
)
jobs = st.builds(
    Job,
    id=texts.map(JobId),
    product=texts.map(ProductId),
    pool=texts,
    key=texts,
    stage=st.sampled_from(Stage),
    epoch=counts.map(Epoch),
    priority=st.sampled_from(Priority),
    created_at=times,
    seats=counts,
    factory=st.none() | texts.map(FactoryName),
    boot=st.none() | texts.map(BootId),
    lease_expires_at=st.none() | times,
    failures=counts,
    preemptions=counts,
    losses=counts,
)
artifacts = st.builds(
    Artifact, name=texts, digest=digests, size_bytes=counts, meta=st.dictionaries(texts, json_values, max_size=2)
)
reports = st.builds(
    Report,
    outcome=st.sampled_from(Outcome),
    detail=texts,
    exit_code=st.none() | st.integers(-64, 255),
    metrics=st.dictionaries(texts, numbers, max_size=3),
    artifacts=st.lists(artifacts, max_size=2).map(tuple),
    seconds=seconds,
    peak_memory_mb=st.none() | seconds,
    damaged=st.none() | digests,
)
progresses = st.builds(
    Progress,
    step=st.none() | counts,
    total=st.none() | counts,
    values=st.dictionaries(texts, numbers, max_size=3),
)

Value = TypeVar("Value")


def sent(value: Json) -> Json:
    """Return the value as it arrives at the other end of a line of strict JSON."""
    arrived: Json = json.loads(json.dumps(value, allow_nan=False))
    return arrived


@given(specs)
def test_a_spec_arrives_unchanged(spec: JobSpec) -> None:
    """And with the same digest."""
    arrived = wire.spec_from_json(sent(spec.as_json()))

    assert arrived == spec
    assert arrived.digest() == spec.digest()


@given(jobs)
def test_a_job_arrives_unchanged(job: Job) -> None:
    """With its times, stage and counters."""
    assert wire.job_from_json(sent(wire.job_as_json(job))) == job


@given(reports)
def test_a_report_arrives_unchanged(report: Report) -> None:
    """With its artifacts and with infinite metrics."""
    assert wire.report_from_json(sent(wire.report_as_json(report))) == report


@given(progresses)
def test_progress_arrives_unchanged(progress: Progress) -> None:
    """With unknown steps too."""
    assert wire.progress_from_json(sent(wire.progress_as_json(progress))) == progress


def test_not_a_number_arrives_as_itself() -> None:
    """It has no JSON number, and must not be lost on the way."""
    arrived = wire.progress_from_json(
        sent(wire.progress_as_json(Progress(step=1, total=None, values={"loss": math.nan})))
    )

    assert math.isnan(arrived.values["loss"])


@given(reports, st.data())
def test_a_missing_field_is_named(report: Report, data: st.DataObject) -> None:
    """Whichever it is."""
    value = wire.report_as_json(report)
    gone = data.draw(st.sampled_from(sorted(value)))
    del value[gone]

    with pytest.raises(BadValue, match=gone):
        wire.report_from_json(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stage", "running"),
        ("epoch", True),
        ("epoch", 1.5),
        ("created_at", "yesterday"),
        ("created_at", "2026-01-01T00:00:00"),
        ("id", None),
        ("seats", "2"),
        ("factory", 7),
    ],
)
def test_a_field_of_the_wrong_form_is_named(field: str, value: Json) -> None:
    """With the value that stood there."""
    good = wire.job_as_json(
        Job(
            id=JobId("j"),
            product=ProductId("p"),
            pool="local",
            key="k",
            stage=Stage.QUEUED,
            epoch=Epoch(1),
            priority=Priority.HIGH,
            created_at=datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            seats=1,
            factory=None,
            boot=None,
            lease_expires_at=None,
            failures=0,
            preemptions=0,
            losses=0,
        )
    )

    with pytest.raises(BadValue, match=field):
        wire.job_from_json({**good, field: value})


@given(json_values)
def test_whatever_is_no_report_is_refused(value: Json) -> None:
    """By a clear error, never by another one."""
    with pytest.raises(BadValue):
        wire.report_from_json(value)
