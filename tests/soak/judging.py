"""Runs the tests that should notice a missing guard, in a copy of the product that lacks it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.soak.mutants import Mutant

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "pilothouse"
COPIED = ("src", "tests", "examples", "pyproject.toml")
QUICK = {
    "access": ("access", "web"),
    "fleet": ("fleet", "operations", "engine"),
    "operations": ("operations", "engine", "web"),
    "engine": ("engine", "web"),
    "store": ("store", "operations", "engine", "web"),
    "web": ("web",),
    "wiring": ("wiring", "web", "factory", "cli"),
}
"""The folders of tests that are to notice, by the room that the guard stands in."""
FIRST = {
    "operations": ("operations/test_guards.py", "operations/test_jobs.py", "operations/test_operate.py"),
    "engine": (
        "engine/test_guards.py",
        "engine/test_scheduler_claims.py",
        "engine/test_scheduler_ends.py",
        "engine/test_scheduler_sweeps.py",
        "engine/test_preempting.py",
    ),
    "store": ("store/test_guards.py", "store/test_neighbours.py", "store/test_fleet_aggregates.py"),
    "wiring": ("acceptance/test_records.py",),
    "web": ("web/test_guards.py", "web/test_review_products.py", "web/test_access.py", "web/test_jobs.py"),
}
"""The tests that are likely to notice, by the room as well."""
RUN_SECONDS = 600


class Copy:
    """A copy of what a test run needs, in which one guard at a time may be missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "soak")
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copy(source, folder / name)
        self._runner = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_pytest.py")), str(RUN_SECONDS)],
            cwd=folder,
            env={"PATH": os.defpath, "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the process that runs the tests."""
        assert self._runner.stdin is not None
        self._runner.stdin.close()
        self._runner.wait(60)

    def whole(self) -> str | None:
        """Return the first test that fails although nothing is missing."""
        return self._run(sorted({f"tests/{name}" for names in QUICK.values() for name in names}))

    def without(self, mutant: Mutant, *, first: str | None = None) -> str | None:
        """Return what notices the mutant: `first` is asked, then what speaks of its place, then the whole room."""
        place = self._folder / mutant.path.relative_to(ROOT)
        whole, times = place.read_text(encoding="utf-8"), place.stat()
        place.write_text(mutant.applied(whole), encoding="utf-8")
        try:
            asked: set[str] = set()
            for tests in ([first] if first and self._has(first) else [], self._nearest(mutant), self._room(mutant)):
                failed = self._surely([test for test in tests if test not in asked])
                asked.update(tests)
                if failed is not None:
                    return failed
            return None
        finally:
            place.write_text(whole, encoding="utf-8")
            # So what was compiled of the whole file is good again.
            os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))

    def _has(self, test: str) -> bool:
        """Return whether a test is there, as far as its file tells."""
        file, _, name = test.partition("::")
        place = self._folder / file
        return place.is_file() and f"def {name.rpartition('::')[2]}(" in place.read_text(encoding="utf-8")

    def _surely(self, tests: Sequence[str]) -> str | None:
        """Return what fails twice in a row; what fails once was disturbed by something else."""
        left = list(tests)
        while (failed := self._run(left)) is not None:
            is_test = "::" in failed
            if self._run([failed] if is_test else left) is not None:
                return failed
            if not is_test:
                return None
            left += ["--deselect", failed]
        return None

    def _run(self, arguments: Sequence[str]) -> str | None:
        if not arguments:
            return None
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        self._runner.stdin.write(json.dumps(arguments) + "\n")
        self._runner.stdin.flush()
        failed: str | None = json.loads(self._runner.stdout.readline())
        return failed

    def _nearest(self, mutant: Mutant) -> list[str]:
        """Return the test files that speak of what was changed: they notice soonest."""
        place = mutant.path.relative_to(PACKAGE)
        first = [f"tests/{name}" for name in FIRST.get(place.parts[0], ())]
        if place.suffix == ".sql":
            dialect = "postgres" if "postgres" in place.parts else "sqlite"
            return [*first, f"tests/store/test_{dialect}.py"]
        dotted = ".".join(("pilothouse", *place.with_suffix("").parts))
        said = [file for file in self._room(mutant) if dotted in (self._folder / file).read_text(encoding="utf-8")]
        return list(dict.fromkeys([*first, *said]))

    def _room(self, mutant: Mutant) -> list[str]:
        """Return the test files of the rooms that are to notice."""
        room = mutant.path.relative_to(PACKAGE).parts[0]
        folders = [self._folder / "tests" / name for name in QUICK[room]]
        files = [file for folder in folders for file in sorted(folder.glob("test_*.py"))]
        return [str(file.relative_to(self._folder)) for file in files]
