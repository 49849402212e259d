"""What a job needs of a factory, and what a factory offers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.errors import BadValue
from pilothouse.fleet.capability import (
    PATTERN,
    TEXT_MAX,
    Ability,
    Offer,
    Relation,
    Requirement,
    fit,
    parse,
    parse_all,
    unmet,
)

KEYS = st.sampled_from(["cuda", "python", "os", "gpu", "engine", "disk_gb"])
VALUES = st.from_regex(r"[a-z0-9][a-z0-9._+/@-]{0,8}", fullmatch=True)
VERSIONS = st.lists(st.integers(0, 12), min_size=1, max_size=4)
TEXTS = st.one_of(
    KEYS,
    st.builds("{}:{}".format, KEYS, VALUES),
    st.builds(
        lambda key, relation, version: f"{key}{relation}{'.'.join(map(str, version))}",
        KEYS,
        st.sampled_from([relation for relation in Relation if relation is not Relation.IS]),
        VERSIONS,
    ),
)
OFFERS = st.lists(
    st.one_of(
        KEYS,
        st.builds("{}:{}".format, KEYS, VALUES),
        st.builds(lambda key, version: f"{key}=={'.'.join(map(str, version))}", KEYS, VERSIONS),
    ),
    max_size=6,
)


def lacks(needs: list[str], offers: list[str]) -> tuple[str, ...]:
    return tuple(str(requirement) for requirement in unmet([parse(text) for text in needs], Offer.read(offers)))


@given(text=TEXTS)
def test_a_requirement_is_read_back_from_its_text(text: str) -> None:
    """And the canonical text is its own canonical text."""
    requirement = parse(text)

    assert parse(str(requirement)) == requirement
    assert str(parse(str(requirement))) == str(requirement)


@given(text=TEXTS | st.text(alphabet="ab1.:<>=! -é", max_size=8))
def test_the_published_pattern_is_the_grammar(text: str) -> None:
    """What the pattern lets through is read, and nothing else."""
    try:
        parse(text)
    except BadValue:
        assert re.search(PATTERN, text) is None
    else:
        assert re.search(PATTERN, text) is not None


@given(texts=OFFERS)
def test_an_offer_is_read_back_from_its_texts(texts: list[str]) -> None:
    """In any order, with repetitions."""
    offer = Offer.read(texts)

    assert Offer.read([*reversed(offer.texts()), *texts]) == offer


@given(one=VERSIONS, other=VERSIONS)
def test_versions_compare_number_by_number(one: list[int], other: list[int]) -> None:
    """Zeros at the end change nothing, and each relation agrees with the order of the numbers."""
    width = max(len(one), len(other))
    have, want = ([*version, *[0] * (width - len(version))] for version in (one, other))
    offer, text = f"cuda:{'.'.join(map(str, one))}", ".".join(map(str, other))

    assert (lacks([f"cuda>={text}"], [offer]) == ()) == (have >= want)
    assert (lacks([f"cuda<={text}"], [offer]) == ()) == (have <= want)
    assert (lacks([f"cuda>{text}"], [offer]) == ()) == (have > want)
    assert (lacks([f"cuda<{text}"], [offer]) == ()) == (have < want)
    assert (lacks([f"cuda=={text}"], [offer]) == ()) == (have == want)
    assert (lacks([f"cuda!={text}"], [offer]) == ()) == (have != want)


@given(needs=st.lists(TEXTS, max_size=5), offers=OFFERS, more=OFFERS)
def test_more_offered_never_leaves_more_unmet(needs: list[str], offers: list[str], more: list[str]) -> None:
    """A machine that could run the job still can after it was given something."""
    assert len(lacks(needs, offers + more)) <= len(lacks(needs, offers))


@given(needs=st.lists(TEXTS, max_size=4), more=TEXTS, offers=OFFERS)
def test_more_asked_never_leaves_less_unmet(needs: list[str], more: str, offers: list[str]) -> None:
    """What fails a short list fails a longer one."""
    assert len(lacks([*needs, more], offers)) >= len(lacks(needs, offers))


@given(needs=st.lists(TEXTS, max_size=4), offers=OFFERS)
def test_a_fit_is_zero_exactly_where_the_job_cannot_run(needs: list[str], offers: list[str]) -> None:
    """And never above one."""
    closeness = fit([parse(text) for text in needs], Offer.read(offers))

    assert 0.0 <= closeness <= 1.0
    assert (closeness == 0.0) == bool(lacks(needs, offers))


@given(needs=st.lists(TEXTS, max_size=4), offers=OFFERS)
def test_what_is_not_needed_makes_a_machine_fit_less(needs: list[str], offers: list[str]) -> None:
    """So the special machine stays free; a job that cannot run there fits no less."""
    requirements = [parse(text) for text in needs]
    before, after = (fit(requirements, Offer.read(texts)) for texts in (offers, [*offers, "unneeded:thing"]))

    assert after < before or before == 0.0


@given(needs=st.lists(TEXTS, max_size=4), offer=OFFERS)
def test_requirements_that_some_machine_meets_are_never_refused(needs: list[str], offer: list[str]) -> None:
    """The refusal of the impossible has no false alarms."""
    if not lacks(needs, offer):
        assert set(parse_all(needs)) == {parse(text) for text in needs}


@pytest.mark.parametrize(
    ("need", "offer", "met"),
    [
        ("cuda", "cuda:12.4", True),
        ("cuda", "cuda", True),
        ("cuda", "gpu", False),
        ("gpu:a100", "gpu:A100", True),
        ("gpu:a100", "gpu:h100", False),
        ("os:any", "gpu", True),
        ("os:linux", "os:macos", False),
        ("python>=3.10", "python==3.9", False),
        ("python>=3.9", "python:3.10", True),
        ("python:3.11", "python==3.11.0", True),
        ("cuda>=12", "cuda", False),
        ("cuda>=12", "cuda:newest", False),
    ],
)
def test_examples(need: str, offer: str, met: bool) -> None:
    """A key without a version meets no comparison: what is unknown is not enough."""
    assert (lacks([need], [offer]) == ()) == met


def test_the_bounds_of_one_key_hold_for_one_version() -> None:
    """An older and a newer one together are nothing in between; the nearest tells what is missing."""
    needs = ["python>=3.10", "python<3.12", "python!=3.11.0"]

    assert lacks(needs, ["python:3.9", "python:3.13"]) == ("python<3.12",)
    assert lacks(needs, ["python:3.9", "python:3.11.4"]) == ()


@pytest.mark.parametrize(
    "needs",
    [
        ["python>=3.12", "python<3.10"],
        ["python<0"],
        ["cuda==12", "cuda!=12.0"],
        ["cuda:12", "cuda>12"],
        ["cuda>=12", "cuda<=12", "cuda!=12"],
    ],
)
def test_what_no_version_meets_is_refused_at_once(needs: list[str]) -> None:
    """The message names the requirements that contradict each other."""
    with pytest.raises(BadValue, match="no version meets") as caught:
        parse_all(needs)

    assert all(text in caught.value.message for text in map(str, map(parse, needs)))


@pytest.mark.parametrize("needs", [["python>3.9", "python<3.9.1"], ["cuda<0.1"], ["cuda!=12", "cuda!=13"], ["os:any"]])
def test_narrow_gaps_between_versions_are_no_contradiction(needs: list[str]) -> None:
    """Between two versions there is always another."""
    assert len(parse_all(needs)) == len(needs)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        (">=3", 0),
        ("3cuda", 0),
        ("cuda >= 12", 4),
        ("cuda>=", 6),
        ("cuda=12", 4),
        ("cuda>=12x", 8),
        ("cuda>=1..2", 7),
        ("cuda>=12.", 8),
        ("cuda>=newest", 6),
        ("gpu:", 4),
        ("gpu:a b", 5),
        ("gpu:a:b", 5),
        ("os:\x00", 3),
        ("cuda>=\u0663", 6),
    ],
)
def test_bad_texts_are_refused_with_the_place(text: str, position: int) -> None:
    """The text, the position and the grammar are all in the error."""
    with pytest.raises(BadValue, match=f"position {position}:") as caught:
        parse(text)

    assert repr(text) in caught.value.message
    assert "key<op>version" in caught.value.fix


def test_a_long_text_is_refused_before_it_is_read() -> None:
    """A number of thousands of digits is never made."""
    with pytest.raises(BadValue, match="longer than"):
        parse("cuda>=" + "9" * (TEXT_MAX * 100))


@pytest.mark.parametrize("text", ["cuda>=12", "cuda!=12"])
def test_an_offer_does_not_compare(text: str) -> None:
    """A factory has a version."""
    with pytest.raises(BadValue, match="position 4") as caught:
        Offer.read([text])

    assert caught.value.fix.startswith("write cuda:12")


def test_an_offer_tells_every_form_of_a_key() -> None:
    """In order."""
    offer = Offer.read(["gpu:h100", "gpu", "os:linux"])

    assert offer.of("gpu") == (
        Ability(key="gpu"),
        Ability(key="gpu", value="h100"),
    )


def test_requirements_come_out_sorted_and_once() -> None:
    """So equal needs make equal shapes."""
    assert parse_all(["gpu", "cuda>=12.0", "GPU"]) == (
        Requirement(key="cuda", relation=Relation.AT_LEAST, value="12.0"),
        Requirement(key="gpu"),
    )
