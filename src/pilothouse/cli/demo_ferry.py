"""`pilothouse demo ferry`: two ferries, from proposal to sealed record, in a git repository of their own."""

from __future__ import annotations

import contextlib
import getpass
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pilothouse.cli.context import note, say

if TYPE_CHECKING:
    from pilothouse.campaigns.ferry_definition import FerryDefinition
    from pilothouse.settings import Settings
    from pilothouse.wiring.workspace import Workspace

FOLDER = "demo-ferry"
FILE = "ferry-nano.toml"
RECIPE = "ferries.md"
HOME = ".pilothouse"
RECIPE_TEXT = """\
# Our ferry

Draft, approve, launch, watch, read the record. What stands below follows each promotion.

<!-- ferry baseline: ferry-nano -->

Nothing has been promoted yet.

<!-- end of ferry baseline -->
"""


def demo_ferry(outer: Settings, *, ferries: int, fresh: bool) -> int:
    """Sail so many ferries more and return the exit code; a demo that is there goes on."""
    from dataclasses import replace

    from pilothouse.wiring.workspace import discard_workspace

    repository = outer.home / FOLDER
    if fresh:
        discard_workspace(repository, marker=FILE)
    _begin(repository)
    with contextlib.chdir(repository):
        settings = replace(outer, home=repository / HOME, product=None)
        for turn in range(ferries):
            if turn > 0:
                _work_goes_on(repository, turn)
            code = _sail(settings, repository)
            if code != 0:
                return code
        _show(settings, repository)
    return 0


def _begin(repository: Path) -> None:
    """Make the repository with the template and the recipe, if it is not there."""
    from pilothouse.cli.examples import write_example
    from pilothouse.wiring.repository import git
    from pilothouse.wiring.workspace import write_text

    if (repository / FILE).exists():
        return
    write_example(repository / FILE, example=FILE.removesuffix(".toml"), force=False)
    write_text(repository / RECIPE, RECIPE_TEXT)
    write_text(repository / ".gitignore", f"/{HOME}/\n")
    git("init", "--quiet", "--initial-branch=main", folder=repository)
    _commit(repository, "Begin with the template and its recipe")


def _work_goes_on(repository: Path, turn: int) -> None:
    """Commit something between two ferries, so that the next proposal has it to consider."""
    from pilothouse.wiring.workspace import write_text

    write_text(repository / "notes.md", f"Work went on after ferry {turn}: the learning_rate is to be looked at.\n")
    _commit(repository, "Note that the learning_rate is to be looked at")


def _commit(repository: Path, message: str) -> None:
    from pilothouse.errors import OperationFailed
    from pilothouse.wiring.repository import git, quietly

    git("add", "--all", folder=repository)
    named = ("-c", "user.name=Pilothouse demo", "-c", "user.email=demo@localhost")
    ended = quietly(*named, "commit", "--quiet", "--message", message, folder=repository)
    if ended.code != 0 and "nothing to commit" not in ended.out:
        raise OperationFailed(f"git could not commit: {ended.err or ended.out}", fix="the demo needs git on the PATH")


def _sail(settings: Settings, repository: Path) -> int:
    """Draft, approve as the person who runs the demo, launch, and watch to the end."""
    from pilothouse.access.audit import Actor
    from pilothouse.campaigns.ferry_plan import Asked
    from pilothouse.cli.campaign import read_file
    from pilothouse.cli.campaign_run import RunRequest, run_in_foreground
    from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal
    from pilothouse.proposals.ferry_request import request_text, request_title
    from pilothouse.wiring.ferry_drafting import draft_now, ferry_of
    from pilothouse.wiring.workspace import open_workspace

    definition: FerryDefinition = ferry_of(read_file(repository / FILE))
    workspace = open_workspace(settings, create=True)
    drafted = draft_now(workspace, name=None, definition=definition, asked=Asked(), guidance="")
    say(f"--- pull request: {request_title(drafted.request)}\n\n{request_text(drafted.request)}")
    approver = getpass.getuser()
    with workspace.store.write() as tx:
        approve_proposal(
            tx,
            ApprovalRequest(
                proposal=drafted.ferry.proposal.id,
                approver=Actor(name=approver),
                reason="the demo was started",
                expires_in="1h",
            ),
            product=workspace.product,
            now=workspace.clock.now(),
        )
    say(f"--- approved by {approver}, for exactly this subject; launching\n")
    code = run_in_foreground(settings, RunRequest(file=repository / FILE, iterations=1, go_on="pilothouse demo ferry"))
    _deliver(workspace)
    return code


def _deliver(workspace: Workspace) -> None:
    """Write the local publications that are still to be written."""
    from pilothouse.logbook.letter import LOCAL
    from pilothouse.wiring.local_letters import deliver_local

    left = deliver_local(workspace, stop=threading.Event())
    if left:
        note(f"note: {left} letters of the channel {LOCAL} wait; the next run writes them")


def _show(settings: Settings, repository: Path) -> None:
    """Print where everything lies, and what to run next."""
    from pilothouse.wiring.repository import git
    from pilothouse.wiring.workspace import open_workspace

    workspace = open_workspace(settings, create=False)
    with workspace.store.read() as tx:
        campaign = tx.campaigns.listed(workspace.product)[0]
        ferries = tx.ferries.listed(workspace.product, campaign.name)
    pages = settings.home / "publications" / campaign.product / campaign.name
    last = ferries[-1]
    issue = pages / f"github~{last.run}~issue.md"
    say(f"--- the record of ferry {last.number}\n")
    say(issue.read_text(encoding="utf-8") if issue.exists() else f"{issue} is not written yet")
    say("--- branches and seals of the repository\n")
    say(git("for-each-ref", "--format=%(refname:short)  %(contents:subject)", folder=repository).out)
    say(f"\nrepository  {repository}")
    say(f"pages       {pages}")
    say(f"next        cd {repository} && pilothouse logbook show")
    say(f"            git -C {repository} log --oneline --all --graph")
