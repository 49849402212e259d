"""Injected faults: each is called by its class, and no process of it is left, wherever it has hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilothouse.testing.factory_bench import Bench
from pilothouse.testing.loop_bench.faults import FAULTS, inject


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_fault_has_its_class_and_leaves_no_process(name: str, tmp_path: Path) -> None:
    """Children in sessions of their own, and those whose parents are gone, are found in /proc by their environment."""
    fault = FAULTS[name]

    seen = inject(fault, Bench(tmp_path))

    assert seen.report.outcome is fault.outcome, seen.report.detail
    assert fault.named in seen.report.detail
    assert seen.report.artifacts == ()
    assert seen.left == ()
