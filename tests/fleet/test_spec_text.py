"""The text of a spec is canonical, complete, and what its digest is made of."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import canonical
from pilothouse.fleet.job import ChildrenPolicy, Cost, DepsMode, FreshStart, JobSpec, Ship
from pilothouse.fleet.wire import spec_from_json
from pilothouse.store import rows

TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
SPECS = st.builds(
    JobSpec,
    kind=TEXTS,
    command=st.lists(TEXTS, max_size=2).map(tuple),
    config=st.dictionaries(TEXTS, VALUES, max_size=3),
    seed=st.integers(0, 9),
    campaign=TEXTS,
    trial=st.integers(0, 3),
    artifacts=st.lists(TEXTS, max_size=2).map(tuple),
    seats=st.integers(1, 3),
    memory_gb=st.sampled_from([0.0, 1.5]),
    timeout_seconds=st.sampled_from([7200.0, 60.0]),
    deps_mode=st.sampled_from(DepsMode),
    children_policy=st.sampled_from(ChildrenPolicy),
    ship=st.sampled_from(Ship),
    fresh_start=st.sampled_from(FreshStart),
    cost=st.builds(Cost, usd=st.none() | st.floats(0, 9), tokens=st.none() | st.just(5.0)),
    reviewers=st.lists(TEXTS, max_size=2).map(tuple),
)


@given(SPECS)
def test_the_text_is_canonical_json_of_every_field(spec: JobSpec) -> None:
    value = json.loads(spec.text())
    assert canonical(value) == canonical(spec.as_json()) == spec.text()
    assert value == json.loads(canonical(spec.as_json()))
    assert set(value) == {field.name for field in dataclasses.fields(JobSpec)}


@given(SPECS)
def test_a_spec_comes_back_from_its_text_with_its_digest(spec: JobSpec) -> None:
    again = spec_from_json(json.loads(spec.text()))
    assert again == spec
    assert again.digest() == spec.digest() == hashlib.sha256(spec.text().encode()).hexdigest()


@pytest.mark.parametrize("read", [rows.spec, lambda text: spec_from_json(json.loads(text))], ids=["store", "wire"])
def test_a_text_from_before_a_field_means_what_it_meant(read: Callable[[str], JobSpec]) -> None:
    """A job that waited through an upgrade is handed out, and its key still stands for the same spec."""
    spec = JobSpec(kind="train", command=("true",), config={}, seed=1, campaign="", trial=0)
    value = {name: item for name, item in spec.as_json().items() if name not in {"arguments", "fresh_start"}}

    again = read(canonical(value))

    assert again == spec
    assert (again.arguments, again.fresh_start) == ({}, FreshStart.ALLOWED)
    assert again.digest() == spec.digest()
