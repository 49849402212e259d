"""Metrics of made-up answers, by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pilothouse.programs.forty_two import metrics
from pilothouse.programs.forty_two.learner_bench import made_up_rows
from pilothouse.programs.forty_two.metrics import Answers
from pilothouse.programs.forty_two.tokens import TokenRows


@pytest.fixture(name="rows")
def _rows() -> TokenRows:
    """Four positions: two movers of each team, one tie, one forced move, one opening."""
    q = np.full((4, 7), -128, dtype=np.int8)
    q[0, :3] = [10, -10, 10]  # team 0: the slots 0 and 2 are best
    q[1, 1:3] = [4, -8]  # team 1: slot 2 is best
    q[2, 5] = 20  # forced
    q[3, :2] = [0, 12]  # team 1: slot 0 is best
    legal = (q != -128).astype(np.int8)
    small = {
        "teams": [0, 1, 0, 1],
        "targets": [0, 2, 5, 0],
        "values": [10, -8, 20, 0],
        "left": [27, 9, 1, 8],
        "declaration": [0, 1, 2, 3],
    }
    columns: dict[str, Any] = {name: np.array(column, dtype=np.int8) for name, column in small.items()}
    deal = np.array([7, 7, 8, 9], dtype=np.int64)
    return replace(made_up_rows(4), qvals=q, legal=legal, deal=deal, **columns)


def _answers(chosen: list[int], value: list[float]) -> Answers:
    logits = np.zeros((len(chosen), 7), dtype=np.float32)
    logits[np.arange(len(chosen)), chosen] = 1
    return Answers(logits=logits, value=np.array([points / 42 for points in value], dtype=np.float32))


def test_every_metric_of_a_worked_example(rows: TokenRows) -> None:
    """Regrets 20, 0, 0 and 12, by the mover's own sign."""
    found = metrics.summarise(_answers([1, 2, 5, 1], [10, -8, 23, 1]), rows)

    assert found["q_gap"] == 8.0
    assert found["q_gap_opening"] == 20.0
    assert found["blunder_rate"] == 0.5
    assert found["zero_regret_rate"] == 0.5
    assert (found["regret_max"], found["regret_p99"]) == (20.0, 20.0)
    assert found["value_mae"] == pytest.approx(1.0)
    assert found["accuracy"] == 0.5
    assert found["accuracy_tie_ceiling"] == 3.5 / 4
    assert (found["examples"], found["deals"]) == (4.0, 3.0)


def test_a_tied_best_move_loses_nothing_but_accuracy(rows: TokenRows) -> None:
    """The second of two best moves is no mistake, and accuracy calls it one: hence the ceiling beside it."""
    found = metrics.summarise(_answers([2, 2, 5, 0], [10, -8, 20, 0]), rows)

    assert found["q_gap"] == 0.0
    assert found["accuracy"] == 0.75


def test_illegal_slots_are_never_chosen(rows: TokenRows) -> None:
    """However sure the network is of a slot that may not be played."""
    chosen = metrics.choices(_answers([6, 6, 6, 6], [0] * 4), rows)

    assert np.all(rows.legal[np.arange(4), chosen] == 1)


def test_samples_name_their_example_and_cluster(rows: TokenRows) -> None:
    """One line per row; the id depends on deal, declaration and position alone, and on each of them."""
    columns = metrics.sample_columns(_answers([1, 2, 5, 1], [0] * 4), rows)

    assert columns["regret"].tolist() == [20, 0, 0, 12]
    assert columns["blunder"].tolist() == [True, False, False, True]
    assert columns["deal"].tolist() == [7, 7, 8, 9]
    kinds = {name: column.dtype.name for name, column in columns.items()}
    assert kinds == {
        "example": "int64",
        "deal": "int64",
        "declaration": "int8",
        "left": "int8",
        "regret": "float32",
        "blunder": "bool",
    }
    ids = columns["example"]
    reordered = rows.chosen(np.array([False, True, False, True]))
    assert metrics.example_ids(reordered).tolist() == ids[[1, 3]].tolist()
    others = [replace(rows, deal=rows.deal + 1), replace(rows, state=rows.state + 1)]
    others.append(replace(rows, declaration=rows.declaration + np.int8(1)))
    for other in others:
        assert not np.any(metrics.example_ids(other) == ids)
    assert np.all(ids >= 0)


def test_without_an_opening_row_there_is_no_opening_metric(rows: TokenRows) -> None:
    """A mean of nothing is no number, and a metric that is NaN would fail the whole evaluation."""
    late = replace(rows, left=np.array([5, 9, 1, 8], dtype=np.int8))

    found = metrics.summarise(_answers([1, 2, 5, 1], [10, -8, 23, 1]), late)

    assert "q_gap_opening" not in found
    assert found["q_gap"] == 8.0
