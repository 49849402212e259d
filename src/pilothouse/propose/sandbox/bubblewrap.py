"""The command line of bubblewrap for a plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pilothouse.propose.sandbox.plan import Plan


def arguments(program: str, plan: Plan, *, inside: Sequence[str]) -> tuple[str, ...]:
    """Return bubblewrap's own words, before the command: what is readable is bound, the folder alone can be written.

    `inside` is what the step needs that ties the command down in there; the command cannot read it. `/dev` is
    bubblewrap's small one and `/proc` shows the namespace alone; nothing else is there at all.
    """
    words = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if plan.network:
        words.append("--share-net")
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  a /tmp of its own
    bound = [*plan.readable, *inside]
    for path in bound:
        if path.startswith("/proc/") or any(Path(other) in Path(path).parents for other in bound):
            continue  # /proc is the namespace's own, and what lies in a bound folder is there already
        if Path(path).is_symlink() and Path(path).parent == Path("/"):
            words += ["--symlink", str(Path(path).readlink()), path]
        else:
            words += ["--ro-bind-try", path, path]
    words += ["--bind", plan.folder, plan.folder, "--chdir", plan.folder]
    return tuple(words)
