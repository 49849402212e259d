"""A column of a batch comes back from PostgreSQL as it went in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilothouse.errors import BadValue
from pilothouse.store.postgres.arrays import TextArray, TextArrayDumper, column, literal

NUMBERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
AWKWARD = st.sampled_from(
    ["", "NULL", "null", "{", "}", ",", '"', "\\", "\\\\", '\\"', " a ", "'", "\n", "日本", "None"]
)


@pytest.fixture(name="raw", scope="module")
def _raw(shared: tuple[str, psycopg.Connection]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared[0], autocommit=True) as raw:
        raw.adapters.register_dumper(TextArray, TextArrayDumper)
        yield raw


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.none() | NUMBERS, min_size=1),
    floats=st.lists(st.none() | FLOATS, min_size=1),
    texts=st.lists(st.none() | TEXTS | AWKWARD, min_size=1),
    words=st.lists(TEXTS | AWKWARD, min_size=1),
)
def test_every_column_comes_back(
    raw: psycopg.Connection, numbers: list[Any], floats: list[Any], texts: list[Any], words: list[Any]
) -> None:
    """Whole numbers, fractions and texts, each with and without gaps."""
    query = "SELECT %s::bigint[], %s::double precision[], %s::text[], %s::text[]"
    for form in (literal, column):
        row = raw.execute(query, [form(values) for values in (numbers, floats, texts, words)]).fetchone()
        assert row == (numbers, floats, texts, words)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("others", [[], [1.5], [None, 2]])
def test_what_is_not_finite_is_refused(bad: float, others: list[Any]) -> None:
    """No measurement is stored that no other store could hold."""
    with pytest.raises(BadValue, match="not finite"):
        literal([*others, bad])


@pytest.mark.parametrize("others", [[], ["a"], [None], ["a", None]])
def test_a_zero_byte_is_refused(others: list[Any]) -> None:
    """With the text that holds it."""
    for form, bad in ((literal, "b\0c"), (column, "b\0c"), (column, '"b"\0c')):
        with pytest.raises(BadValue, match=r"zero byte.*b"):
            form([*others, bad])


def test_half_a_character_is_refused() -> None:
    """Among others that are whole, and need quotes."""
    with pytest.raises(BadValue, match="no Unicode"):
        column(['"a"', "b\ud800"])
