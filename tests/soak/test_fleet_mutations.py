"""Each guard is taken out of a copy of the product in turn; the quick tests must notice every one."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.soak.equivalents import EQUIVALENT
from tests.soak.judging import PACKAGE, ROOT, Copy
from tests.soak.mutants import Mutant, keyed, mutants_of

NOTICED = Path(__file__).with_name("noticed.json")
"""Who noticed what when the check last ran to its end: they are asked first, which saves most of the time."""
RESULT = ROOT / ".soak" / "noticed.json"


def told(number: int, count: int, name: str, by: str) -> None:
    """Say how far the check is."""
    sys.stdout.write(f"{number}/{count} {name}: {by}\n")
    sys.stdout.flush()


def entry(mutant: Mutant, by: str) -> dict[str, object]:
    """Return what is kept of one judgement."""
    return {
        "file": mutant.path.relative_to(ROOT).as_posix(),
        "line": mutant.line,
        "kind": mutant.kind,
        "removed": " ".join(mutant.old.split()),
        "instead": " ".join(mutant.new.split()),
        "noticed_by": by,
    }


def remembered() -> Mapping[str, str]:
    """Return who noticed each mutant the last time."""
    kept = json.loads(NOTICED.read_text(encoding="utf-8")) if NOTICED.exists() else {}
    return {name: each["noticed_by"] for name, each in kept.items() if "::" in each["noticed_by"]}


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_every_guard_is_missed_when_it_is_gone(tmp_path: Path) -> None:
    """Epochs fence, products are apart, access is checked: without any one of these a test fails."""
    mutants = keyed(mutants_of(PACKAGE), PACKAGE)
    assert set(EQUIVALENT) <= set(mutants), "an equivalent is told that is not there any more"
    began, first = time.monotonic(), remembered()
    copy = Copy(tmp_path / "copy")
    assert copy.whole() is None, f"the tests fail without any change: {copy.whole()}"

    result: dict[str, dict[str, object]] = {}
    count: Counter[str] = Counter()
    RESULT.parent.mkdir(exist_ok=True)
    for number, (name, mutant) in enumerate(mutants.items(), start=1):
        if name in EQUIVALENT:
            by, verdict = f"nobody can: {EQUIVALENT[name]}", "equivalent"
        else:
            by = copy.without(mutant, first=first.get(name)) or ""
            verdict = "noticed" if by else "missed"
        count[verdict] += 1
        result[name] = entry(mutant, by)
        told(number, len(mutants), name, by or "NOBODY NOTICED")
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    copy.close()
    minutes = (time.monotonic() - began) / 60
    sys.stdout.write(f"{len(mutants)} guards: {dict(count)}, in {minutes:.0f} minutes; {RESULT}\n")
    assert [name for name, each in result.items() if not each["noticed_by"]] == []
    assert count["noticed"] > 0
