"""Keep a ferry's commits and seals in the working folder's own repository, as branches and tags.

Nothing is checked out, no hook runs and no branch of anybody's is moved: a branch or a tag that is there already stays
as it is, so this may be done again at any time. It is made from the letters alone, and so comes after they are
committed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pilothouse.campaigns.record import Campaign
from pilothouse.errors import OperationFailed
from pilothouse.logbook.letter import GITHUB, Kind, Posted
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Store
from pilothouse.proposals.patch import BRANCH
from pilothouse.wiring.repository import git, quietly

LETTERS_READ = 1000
AUTHOR = "Pilothouse <pilothouse@localhost>"
_SHA = re.compile(r"^[0-9a-f]{40,64}$")


def keep_in_repository(store: Store, campaign: Campaign, folder: Path, *, patch_of: str = "") -> tuple[str, ...]:
    """Return the branches and tags that were made now; a folder of no repository keeps none.

    With `patch_of` it is the branch of a patch for this commit alone, and without it everything but patches: once the
    code has moved nobody waits for one, and a branch that a person has taken and deleted does not come back.
    """
    if git("rev-parse", "--git-dir", folder=folder).code != 0:
        return ()
    with store.read() as tx:
        letters = tx.outbox.listed(LetterQuery(product=campaign.product, channel=GITHUB, limit=LETTERS_READ))
    made: list[str] = []
    for posted in reversed(letters):
        body = posted.letter.body
        base = body.get("base") if str(body.get("branch", "")).startswith(BRANCH) else ""
        if posted.letter.campaign != campaign.name or base != patch_of:
            continue
        stream = _stream(posted, folder)
        if stream is None:
            continue
        ended = quietly("fast-import", "--quiet", "--date-format=raw", folder=folder, stdin=stream[1])
        if ended.code != 0:
            raise OperationFailed(
                f"git could not keep {stream[0]}: {ended.err[:200]}", fix="mend the repository; the letter is kept"
            )
        made.append(stream[0])
    return tuple(made)


def _stream(posted: Posted, folder: Path) -> tuple[str, str] | None:
    """Return the name and the import stream of what a letter makes, None where it makes nothing new."""
    body = posted.letter.body
    who = f"{AUTHOR} {int(posted.posted_at.timestamp())} +0000"
    if posted.letter.kind is Kind.COMMIT:
        branch, named = str(body["branch"]), str(body["base"])
        base = _commit(named, folder) or (None if _SHA.match(named) else _commit("HEAD", folder))
        if base is None or _commit(f"refs/heads/{branch}", folder) is not None:
            return None
        files = body["files"]
        assert isinstance(files, Mapping), f"letter {posted.letter.key} holds no files"
        changes = "".join(
            f"D {_path(path)}\n" if text is None else f"M 100644 inline {_path(path)}\n{_data(str(text))}"
            for path, text in files.items()
        )
        head = f"commit refs/heads/{branch}\ncommitter {who}\n{_data(str(body['message']))}from {base}\n"
        return f"branch {branch}", f"{head}{changes}\n"
    if posted.letter.kind is Kind.TAG:
        tag, target = str(body["tag"]), _commit(str(body.get("commit", "")), folder)
        if target is None or _commit(f"refs/tags/{tag}", folder) is not None:
            return None
        return f"tag {tag}", f"tag {tag}\nfrom {target}\ntagger {who}\n{_data(str(body['message']))}"
    return None


def _commit(name: str, folder: Path) -> str | None:
    ended = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", folder=folder)
    return ended.out if name and ended.code == 0 else None


def _data(text: str) -> str:
    return f"data {len(text.encode('utf-8'))}\n{text}\n"


def _path(path: str) -> str:
    """Return a path as the stream quotes it."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
