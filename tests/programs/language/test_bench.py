"""The benchmark's figures are there, and what cannot be measured is said so."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pilothouse.cli.bench import bench_language
from pilothouse.errors import BadValue
from pilothouse.programs.language import bench
from pilothouse.trainer import OptionRefused


def test_a_preset_is_measured_with_the_options_that_are_set() -> None:
    """Speed, shares, compiling, both ways of saving, the loader; and what stood in the place of `auto`."""
    heard: list[tuple[int, int]] = []
    figures = bench.run(
        preset="tiny",
        minutes=0.001,
        settings={"unroll": 1, "remat": "full", "micro_batch": 2, "peak_tflops": 2},
        progress=lambda done, total: heard.append((done, total)),
    )

    assert figures["measured"] is True
    assert [figures[name] for name in ("attention", "remat", "unroll", "micro_batch")] == ["xla", "full", 1, 2]
    assert [done for done, _ in heard] == list(range(1, len(heard) + 1))
    assert (figures["peak_tflops"], figures["peak_origin"]) == (2.0, "configured")
    assert figures["steps_timed"] == len(heard) >= 3
    numbers = {name: value for name, value in figures.items() if isinstance(value, float)}
    assert numbers["mfu_p10"] <= numbers["mfu_p50"] <= numbers["mfu_p90"]
    assert 0 < numbers["trace_and_lower_seconds"] < numbers["compile_seconds"]
    assert 0 < numbers["checkpoint_stall_seconds_waiting"] <= numbers["checkpoint_write_seconds_waiting"]
    assert 0 < numbers["checkpoint_stall_seconds_beside"] <= numbers["checkpoint_write_seconds_beside"]
    assert min(numbers["loader_tokens_per_s"], numbers["loader_tokens_per_s_from_shards"]) > 0
    assert figures["peak_memory_gb"] is None, "a processor does not count it"
    assert numbers["planned_memory_gb"] > 0


def test_an_option_that_there_is_not_is_refused() -> None:
    """By name, as a run would."""
    with pytest.raises(OptionRefused, match="did you mean 'unroll'"):
        bench.run(preset="tiny", settings={"unrol": 1})


def test_sequences_that_cannot_be_taken_so_many_at_once_are_refused() -> None:
    """As a run refuses them, before anything is compiled."""
    with pytest.raises(OptionRefused, match="micro_batch = 3 does not divide the 4 sequences"):
        bench.run(preset="tiny", minutes=0.001, settings={"micro_batch": 3})


def test_a_value_that_is_nested_without_end_is_refused_as_the_words_it_is() -> None:
    """It is no JSON that anybody could read, and no reason for a traceback."""
    with pytest.raises(BadValue, match="is a str, not int"):
        bench_language(settings=[f"unroll={'[' * 100_000}"])


@pytest.mark.soak
def test_the_command_says_on_a_processor_that_the_canary_was_not_measured() -> None:
    """And measures what needs no accelerator at the canary's sizes."""
    command = [sys.executable, "-m", "pilothouse", "bench", "language", "--preset", "canary", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)

    assert (told["measured"], told["why"]) == (False, "not measured: this preset needs an accelerator")
    assert "mfu_p50" not in told
    assert told["checkpoint_megabytes"] == pytest.approx(12 * told["parameters"] / 1e6, rel=0.01)
    assert told["loader_tokens_per_s"] > told["tokens_per_s_of_the_aim"]
