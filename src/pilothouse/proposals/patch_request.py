"""A patch as the text of a pull request."""

from __future__ import annotations

from pilothouse.logbook.markdown import inline
from pilothouse.proposals.patch import Patch


def patch_text(patch: Patch, *, run: str, signature: str) -> str:
    """Return the body in Markdown."""
    lines = [
        f"Run `{run}` failed by a small bug: {inline(signature)}. An agent proposes this patch.",
        "",
        f"- why: {inline(patch.rationale)}",
        f"- risk, as the agent sees it: **{patch.risk.value}**",
        f"- changed: {patch.lines} lines in {', '.join(f'`{path}`' for path in sorted(patch.files))}",
        f"- made for commit `{patch.base}`",
        "",
        "Nothing of it has been run. Once it is merged and the working folder has it, the relaunch is proposed, and",
        "wants a yes of its own; the same failure again goes to a person.",
    ]
    return "\n".join(lines) + "\n"
