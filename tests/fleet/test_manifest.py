"""The manifest of a job, as people write it."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import canonical, digest
from pilothouse.errors import BadValue
from pilothouse.fleet.budget import checked
from pilothouse.fleet.job import ChildrenPolicy, Cost, DepsMode, JobSpec, Priority, Ship
from pilothouse.fleet.manifest import (
    GENERATIONS_MAX,
    JOBS_MAX,
    Manifest,
    read_children,
    read_manifest,
)
from pilothouse.ids import ArtifactDigest

RUN = ["python", "train.py"]
TOKENS = digest("tokens")
FULL: dict[str, object] = {
    "kind": "train",
    "engine": "codex",
    "body": "Make it faster.",
    "cwd": "repo/tools",
    "lock": "tools",
    "timeout": "45m",
    "grace": "30s",
    "silent-after": "5m",
    "min-running-time": "90s",
    "verify": ["pytest", "-q"],
    "priority": "high",
    "capabilities": ["python>=3.11", "GPU"],
    "prefers-engine": "claude",
    "deps": ["job-1"],
    "deps-mode": "soft",
    "retry": 3,
    "budget": {"usd": 5, "gpu-hours": 2.5, "tokens": 1_000_000},
    "review-policy": {"approvals": 1, "reviewers": ["ada", "grace"]},
    "ship": "manual",
    "artifacts": ["checkpoint"],
    "metrics": ["loss"],
    "idempotency-key": "nightly/1",
    "seats": 2,
    "gpus": 1,
    "memory_gb": 16,
    "pool": "gpu",
    "config": {"lr": 1e-4, "layers": [1, None, {"x": True}]},
    "seed": 7,
    "inputs": {"tokens": [TOKENS]},
    "campaign": "forty-two",
    "trial": 3,
    "children-policy": "terminal",
    "children": [{"name": "a", "command": RUN}, {"name": "b", "command": RUN, "dependsOn": ["a"]}],
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["2h", "a", "high"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ODD = st.dictionaries(st.sampled_from([*Manifest.model_fields, "deps-mode", "x"]), ANYTHING, max_size=6)


def command(**fields: object) -> dict[str, object]:
    return {"command": RUN, **fields}


def nested(generations: int) -> dict[str, object]:
    inner = command()
    for number in range(generations):
        inner = command(children=[{**inner, "name": f"n{number}"}])
    return inner


def refused(value: object) -> BadValue:
    with pytest.raises(BadValue) as caught:
        read_manifest(value)
    return caught.value


def test_every_field_reaches_the_spec() -> None:
    """In the units and words of the spec, the dashed spellings too."""
    manifest = read_manifest(FULL)

    assert manifest.to_spec() == JobSpec(
        kind="train",
        command=(),
        config={"lr": 1e-4, "layers": [1, None, {"x": True}]},
        seed=7,
        campaign="forty-two",
        trial=3,
        inputs={"tokens": (ArtifactDigest(TOKENS),)},
        artifacts=("checkpoint",),
        metrics=("loss",),
        seats=2,
        memory_gb=16.0,
        timeout_seconds=2700.0,
        grace_seconds=30.0,
        silent_after_seconds=300.0,
        restarts=3,
        engine="codex",
        body="Make it faster.",
        cwd="repo/tools",
        lock="tools",
        verify=("pytest", "-q"),
        requires=("gpu", "python>=3.11"),
        prefers_engine="claude",
        deps=("job-1",),
        deps_mode=DepsMode.SOFT,
        children_policy=ChildrenPolicy.TERMINAL,
        gpus=1,
        cost=Cost(usd=5.0, gpu_hours=2.5, tokens=1e6),
        approvals=1,
        reviewers=("ada", "grace"),
        ship=Ship.MANUAL,
        min_running_seconds=90.0,
    )
    assert (manifest.priority, manifest.pool, manifest.idempotency_key) == (Priority.HIGH, "gpu", "nightly/1")
    assert [(child.name, child.depends_on) for child in manifest.children] == [("a", ()), ("b", ("a",))]


def test_the_largest_budget_can_be_counted() -> None:
    """What a manifest lets through, the budgets take."""
    cost = read_manifest(command(budget={"usd": 1e9, "gpu_hours": 1e9, "tokens": 1e12})).to_spec().cost

    assert checked(cost, what="manifest") == cost


def test_little_is_needed() -> None:
    """A command alone has the spec's own defaults."""
    spec = read_manifest(command()).to_spec()

    assert spec == JobSpec(kind="command", command=tuple(RUN), config={}, seed=0, campaign="", trial=0)


def test_an_engine_locks_the_folder_it_works_in() -> None:
    """Unless another lock is named; a command locks nothing by itself."""
    agent = {"engine": "codex", "body": "Tidy up.", "cwd": "repo"}

    assert read_manifest(agent).to_spec().lock == "repo"
    assert read_manifest({**agent, "lock": "other"}).to_spec().lock == "other"
    assert read_manifest(command(cwd="repo")).to_spec().lock == ""


def test_dashes_say_the_same_as_underscores() -> None:
    """And a dumped manifest is read back."""
    manifest = read_manifest({**command(timeout="1d", budget={"usd": 3}), "deps-mode": "soft"})

    assert manifest == read_manifest(command(timeout="1d", deps_mode="soft", budget={"usd": 3}))
    assert read_manifest(manifest.model_dump(mode="json")) == manifest


@given(value=ANYTHING | ODD)
def test_whatever_comes_is_read_or_refused(value: object) -> None:
    """With a mend, and a message that can be written anywhere; what is read has a canonical form."""
    try:
        manifest = read_manifest(value)
    except BadValue as error:
        told = f"{error.message} {error.fix}"
    else:
        told = canonical(manifest.to_spec().as_json()) + manifest.digest()

    assert told.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "path", "fix"),
    [
        (command(priority="normal"), "priority: .*'normal'", "write medium"),
        (command(priority="urgent"), "priority: .*'urgent'", "critical, high, medium, low"),
        (command(comand=RUN), "comand: there is no field", "did you mean 'command'"),
        (command(budget={"usdd": 1}), r"budget\.usdd: ", "did you mean 'usd'"),
        (command(children=[{"name": "a", "command": RUN, "time": "1h"}]), r"children\[0\]\.time: ", "'timeout'"),
        (command(children=[{"command": RUN}]), r"children\[0\]\.name: it is missing", "add 'name'"),
        (command(timeout="90"), "timeout: .*'90'", "90s, 45m, 2h or 1d"),
        (command(timeout=90), "timeout: it is no text, found 90", ""),
        (command(timeout="9999d"), "timeout: it is longer than a year", "366d"),
        (command(seats=True), "seats: .*True", "from 1 to 10000"),
        (command(seats=0), "seats: .* 0", "from 1 to 10000"),
        (command(gpus=1.5), "gpus: .*1.5", "whole number"),
        (command(memory_gb=10**400), "memory_gb: ", "gigabytes"),
        (command(memory_gb=-1), "memory_gb: .*-1", "gigabytes"),
        (command(budget={"usd": -1}), r"budget\.usd: .*-1", "dollars"),
        (command(budget={"usd": 1e10}), r"budget\.usd: .*found 10000000000", "to 1000000000"),
        (command(budget={"tokens": float("nan")}), r"budget\.tokens is nan", "finite"),
        (command(config={"a": [float("inf")]}), r"config\.a\[0\] is inf", "finite"),
        (command(capabilities=["cuda=12"]), "capabilities: .*position 4", "key<op>version"),
        (command(capabilities=["cuda>12", "cuda<11"]), "capabilities: no version meets", "drop or mend"),
        (command(review={"approvals": 2, "reviewers": ["ada"]}), "review: 2 approvals", "more reviewers"),
        (command(deps=["job-1", "job-1"]), "deps: 'job-1' stands twice", "once"),
        (command(inputs={"tokens": ["abc"]}), r"inputs\.tokens\[0\]: .*'abc'", "64 hex digits"),
        (command(cwd="../secrets"), "cwd: it leads out", "below that folder"),
        (command(cwd="/secrets"), "cwd: it leads out", "below that folder"),
        (command(body="Do it."), "a body goes to an engine", "name the engine"),
        (command(engine="codex", body="Do it."), "both an engine and a command", "exactly one"),
        (command(**{"deps-mode": "soft", "deps_mode": "hard"}), "'deps_mode' is written twice", "keep 'deps_mode'"),
        (command(lock="a\x00"), "lock holds a character", "take it out"),
        (command(config={"\ud800": 1}), "config holds a character", "take it out"),
        ({"command": "python train.py"}, "command: it is no list", r'\["python", "train.py"\]'),
        ({"command": []}, "command: ", r'\["python", "train.py"\]'),
        ({"command": ["", "x"]}, "command: it names no program", "begin with the program"),
        ({"engine": "codex"}, "codex has nothing to do", "as body"),
        ({}, "neither an engine nor a command", "exactly one"),
        ([], "the manifest: it is no object", ""),
    ],
)
def test_bad_values_are_refused_by_path(value: object, path: str, fix: str) -> None:
    """The message names the field and the value, the fix the mend."""
    error = refused(value)

    assert re.search(path, error.message), error.message
    assert re.search(fix, error.fix), error.fix


def test_all_complaints_are_counted() -> None:
    """The first is told in full."""
    assert "(1 more complaint)" in refused(command(seats=0, gpus=-1)).message


@pytest.mark.parametrize(
    "value", [{"command": RUN, "config": {"rate": math.nan}}, {"command": ["\ud800"]}, [], "text", None, 9]
)
def test_what_is_no_table_of_plain_values_is_refused(value: object) -> None:
    """Never with a traceback."""
    with pytest.raises(BadValue):
        read_manifest(value)


def test_the_size_is_bounded() -> None:
    """In depth, in generations and in jobs."""
    many = [{"name": f"n{number}", "command": RUN} for number in range(JOBS_MAX // 2 + 1)]
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    assert "deep" in refused(command(config={"deep": deep})).message
    assert "children stand more than" in refused(nested(GENERATIONS_MAX + 1)).message
    assert len(read_manifest(nested(GENERATIONS_MAX)).children) == 1
    assert f"more than {JOBS_MAX} jobs" in refused(command(children=[{**many[0], "children": many}, *many[1:]])).message


def test_children_can_come_later() -> None:
    """As a list of at least one, by the same rules."""
    read = read_children({"children": [{"name": "a", "command": RUN}]})

    assert [child.name for child in read.children] == ["a"]
    with pytest.raises(BadValue, match="children"):
        read_children({"children": []})
    with pytest.raises(BadValue, match=r"children\[0\]\.nam: there is no field"):
        read_children({"children": [{"nam": "a", "command": RUN}]})


def test_the_digest_is_of_all_that_was_asked_for() -> None:
    """The key is not, and a default that is written out is no difference; a child is."""
    plain = read_manifest(command()).digest()

    assert read_manifest(command(priority="medium", idempotency_key="k")).digest() == plain
    assert read_manifest(command(children=[{"name": "a", "command": RUN}])).digest() != plain
    assert read_manifest(command(priority="low")).digest() != plain


def test_the_schema_is_published() -> None:
    """With nothing but the known fields, and durations as texts."""
    schema = Manifest.model_json_schema()

    assert schema["additionalProperties"] is False
    assert schema["properties"]["timeout"]["pattern"]
    assert set(FULL) - set(schema["properties"]) == {
        "silent-after",
        "min-running-time",
        "prefers-engine",
        "deps-mode",
        "review-policy",
        "idempotency-key",
        "children-policy",
    }
