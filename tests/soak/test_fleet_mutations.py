"""Each guard is taken out of a copy of the product in turn; the quick tests must notice every one."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.soak.mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("src") / "pilothouse"
COPIED = ("src", "tests", "pyproject.toml")
QUICK = {
    "access": ("access", "web"),
    "fleet": ("fleet", "operations", "engine"),
    "operations": ("operations", "engine", "web"),
    "engine": ("engine", "web"),
    "store": ("store", "operations", "engine"),
    "web": ("web",),
}
"""The folders of tests that are to notice, by the room that the guard stands in."""
FIRST = {
    "operations": ("operations/test_guards.py", "web/test_access.py", "web/test_jobs.py"),
    "engine": ("engine/test_scheduler_claims.py", "engine/test_scheduler_ends.py", "engine/test_preempting.py"),
    "web": ("web/test_guards.py", "web/test_access.py", "web/test_dispatch.py", "web/test_jobs.py"),
}
"""The tests that are likely to notice what no test file names."""
WORKERS = 2
RUN_SECONDS = 900.0


def copy_of(folder: Path) -> Path:
    """Return a copy of what a test run needs."""
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "programs", "soak"))
        else:
            shutil.copy(source, folder / name)
    return folder


def run(tree: Path, tests: Sequence[str]) -> tuple[bool, str]:
    """Return whether the tests pass in the copy, and the first that failed. A run that hangs has not passed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    environment = {"PATH": os.defpath, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"not over after {RUN_SECONDS:g} s"
    assert ended.returncode in {0, 1, 2, 3}, ended.stdout + ended.stderr
    failed = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if ended.returncode == 0:
        return True, ""
    return False, failed[0] if failed else ended.stdout[-200:]


def nearest(tree: Path, mutant: Mutant) -> list[str]:
    """Return the test files that speak of what was changed: they are asked first, since they notice soonest."""
    place = mutant.path.relative_to(ROOT / PACKAGE)
    if place.suffix == ".sql":
        dialect = "postgres" if "postgres" in place.parts else "sqlite"
        found = [tree / "tests" / "store" / f"test_{name}.py" for name in ("guards", dialect, "fleet_aggregates")]
    else:
        dotted = ".".join(("pilothouse", *place.with_suffix("").parts))
        files = [file for name in QUICK[place.parts[0]] for file in (tree / "tests" / name).glob("test_*.py")]
        found = sorted(file for file in files if dotted in file.read_text(encoding="utf-8"))
        found += [tree / "tests" / name for name in FIRST.get(place.parts[0], ())]
    return list(dict.fromkeys(str(file.relative_to(tree)) for file in found if file.is_file()))


def notice(tree: Path, mutant: Mutant) -> str:
    """Return what noticed the mutant, or nothing."""
    place = tree / mutant.path.relative_to(ROOT)
    whole = place.read_text(encoding="utf-8")
    place.write_text(mutant.applied(whole), encoding="utf-8")
    try:
        first = nearest(tree, mutant)
        if first:
            sound, failed = run(tree, first)
            if not sound:
                return failed
        room = mutant.path.relative_to(ROOT / PACKAGE).parts[0]
        rest = [
            str(file.relative_to(tree)) for name in QUICK[room] for file in (tree / "tests" / name).glob("test_*.py")
        ]
        return run(tree, sorted(set(rest) - set(first)))[1]
    finally:
        place.write_text(whole, encoding="utf-8")


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_every_guard_is_missed_when_it_is_gone(tmp_path: Path) -> None:
    """Epochs fence, products are apart, access is checked: without any one of these a test fails."""
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for number in range(WORKERS):
        trees.put(copy_of(tmp_path / f"tree-{number}"))
    whole = trees.get()
    sound, failed = run(whole, sorted({f"tests/{name}" for names in QUICK.values() for name in names}))
    trees.put(whole)
    assert sound, f"the tests fail without any change: {failed}"

    def noticed(mutant: Mutant) -> str:
        tree = trees.get()
        try:
            by = notice(tree, mutant)
        finally:
            trees.put(tree)
        sys.stdout.write(f"{mutant.name}: {by or 'NOBODY NOTICED'}\n")
        return by

    mutants = mutants_of(ROOT / PACKAGE)
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(noticed, mutants))

    unnoticed = [mutant.name for mutant, by in zip(mutants, found, strict=True) if not by]
    sys.stdout.write(f"{len(mutants) - len(unnoticed)} of {len(mutants)} missing guards were noticed\n")
    assert mutants
    assert unnoticed == []
