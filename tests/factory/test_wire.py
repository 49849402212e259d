"""Every value of the fleet survives the line between two processes."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.factory import messages
from pilothouse.fleet import wire
from pilothouse.fleet.job import (
    Artifact,
    ChildrenPolicy,
    Cost,
    DepsMode,
    FreshStart,
    JobSpec,
    Outcome,
    Progress,
    Report,
    Ship,
)
from pilothouse.fleet.least_step import LeastStep
from pilothouse.ids import ArtifactDigest, Epoch, FactoryName, JobId, ProductId
from pilothouse.ports.dispatch import Beat, Command, Held, Offer, Word

FEWER = settings(max_examples=40)
"""For values of many fields, each example of which tries them all."""

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
costs = st.builds(Cost, usd=st.none() | seconds, gpu_hours=st.none() | seconds, tokens=st.none() | seconds)

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
    engine=texts,
    body=texts,
    cwd=texts,
    lock=texts,
    verify=words,
    requires=words,
    prefers_engine=texts,
    deps=words,
    deps_mode=st.sampled_from(DepsMode),
    children_policy=st.sampled_from(ChildrenPolicy),
    gpus=counts,
    cost=costs,
    approvals=counts,
    reviewers=words,
    ship=st.sampled_from(Ship),
    min_running_seconds=seconds,
    arguments=st.dictionaries(texts, json_values, max_size=2),
    fresh_start=st.sampled_from(FreshStart),
)
offers = st.builds(
    Offer,
    job=texts.map(JobId),
    epoch=counts.map(Epoch),
    product=texts.map(ProductId),
    key=texts,
    spec=specs,
    folder=texts,
    lease_seconds=seconds,
    earlier_folders=words,
    least=st.none() | st.builds(LeastStep, step=counts, factory=texts.map(FactoryName), folder=texts),
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
    cost=costs,
    peak_memory_mb=st.none() | seconds,
    damaged=st.none() | digests,
)
progresses = st.builds(
    Progress,
    step=st.none() | counts,
    total=st.none() | counts,
    values=st.dictionaries(texts, numbers, max_size=3),
    checkpoint_step=st.none() | counts,
)
beats = st.builds(
    Beat,
    lease_seconds=seconds,
    commands=st.lists(
        st.builds(
            Command,
            job=texts.map(JobId),
            epoch=counts.map(Epoch),
            word=st.sampled_from(Word),
            seconds=seconds,
            why=texts,
        ),
        max_size=2,
    ).map(tuple),
    draining=st.booleans(),
)
helds = st.builds(Held, job=texts.map(JobId), epoch=counts.map(Epoch), progress=st.none() | progresses)


def sent(value: Json) -> Json:
    """Return the value as it arrives at the other end of a line of strict JSON."""
    arrived: Json = json.loads(json.dumps(value, allow_nan=False))
    return arrived


@FEWER
@given(specs)
def test_a_spec_arrives_unchanged(spec: JobSpec) -> None:
    """And with the same digest."""
    arrived = wire.spec_from_json(sent(spec.as_json()))

    assert arrived == spec
    assert arrived.digest() == spec.digest()


@FEWER
@given(offers)
def test_an_offer_arrives_unchanged(offer: Offer) -> None:
    """With its spec and its folders."""
    assert messages.offer_from_json(sent(messages.offer_as_json(offer))) == offer


@given(beats)
def test_a_beat_arrives_unchanged(beat: Beat) -> None:
    """With its orders, in their order."""
    assert messages.beat_from_json(sent(messages.beat_as_json(beat))) == beat


@given(helds)
def test_what_is_held_arrives_unchanged(held: Held) -> None:
    """With its sign of life or without one."""
    assert messages.held_from_json(sent(messages.held_as_json(held))) == held


@FEWER
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


@FEWER
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
        ("outcome", "fine"),
        ("detail", None),
        ("exit_code", True),
        ("exit_code", 1.5),
        ("seconds", "soon"),
        ("cost", {"usd": "much", "gpu_hours": None, "tokens": None}),
        ("cost", {"usd": 1.0}),
        ("artifacts", {}),
        ("metrics", [1]),
        ("damaged", 7),
    ],
)
def test_a_field_of_the_wrong_form_is_named(field: str, value: Json) -> None:
    """With the value that stood there."""
    good = wire.report_as_json(
        Report(outcome=Outcome.LOST, detail="", exit_code=None, metrics={}, artifacts=(), seconds=0.0)
    )

    with pytest.raises(BadValue, match=field):
        wire.report_from_json({**good, field: value})


@pytest.mark.parametrize("value", [1, "true", None])
def test_only_truth_is_a_flag(value: Json) -> None:
    """What stands for it elsewhere does not do here."""
    with pytest.raises(BadValue, match="draining"):
        messages.beat_from_json({"lease_seconds": 1, "commands": [], "draining": value})


@given(json_values)
def test_whatever_is_no_report_is_refused(value: Json) -> None:
    """By a clear error, never by another one."""
    with pytest.raises(BadValue):
        wire.report_from_json(value)
