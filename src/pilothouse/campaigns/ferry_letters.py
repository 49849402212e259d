"""What a ferry publishes, as letters: pull request, issue with its status block, comments, closure, seal, promotion.

Few and far between: the proposal, the launch, the first evaluation, an incident, the end. Every key is made from the
run's name, so posting a step again posts nothing new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_record import Ferry, day_of
from pilothouse.canonical import Json
from pilothouse.ids import ProductId
from pilothouse.logbook import ferry_pages as pages
from pilothouse.logbook.letter import DISCORD, GITHUB, Kind, Letter
from pilothouse.logbook.markdown import inline, visible
from pilothouse.proposals.ferry_request import Request, request_text, request_title
from pilothouse.proposals.patch import Patch, branch_of_patch
from pilothouse.proposals.patch_request import patch_text

CHANNELS = (GITHUB, DISCORD)
SHA_CHARACTERS = 40
SIGNATURE_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Whose letters they are, and where its files are: texts by path, as the working folder has them."""

    product: ProductId
    definition: FerryDefinition
    run: str

    @property
    def campaign(self) -> str:
        """The campaign's name."""
        return self.definition.campaign.name

    @property
    def form(self) -> str:
        """The form, which is part of labels and seals."""
        return self.definition.ferry.form

    def letter(
        self, name: str, kind: Kind, body: Mapping[str, Json], *, about: str = "", channel: str = GITHUB
    ) -> Letter:
        """Return a letter of this run; `name` and `about` are its parts of the keys."""
        return Letter(
            product=self.product,
            campaign=self.campaign,
            channel=channel,
            key=f"{self.run}/{name}",
            kind=kind,
            body=body,
            about=f"{self.run}/{about}" if about else "",
        )

    def said(self, name: str, text: str, *, chat: bool = False) -> list[Letter]:
        """Return a comment on the run's issue, and in its chat thread where it matters to everybody."""
        channels = CHANNELS if chat else (GITHUB,)
        return [self.letter(name, Kind.COMMENT, {"text": text}, about="issue", channel=channel) for channel in channels]


def proposal_letters(
    sender: Sender, request: Request, *, revision: int, template: str | None, record: str
) -> list[Letter]:
    """Return the branch with the template's edit, and its pull request; a canary opens none.

    `revision` counts the proposals of the same ferry from 1; each is a pull request of its own, since what was seen and
    approved never changes. `record` is where the proposal's own text is kept in the repository.
    """
    if sender.form == "canary":
        return []
    branch, name = branch_of(sender.run, revision), request_name(revision)
    text = request_text(request)
    files: dict[str, Json] = {record: text}
    if template is not None and sender.definition.ferry.template:
        files[sender.definition.ferry.template] = template
    title = request_title(request)
    base = sender.definition.ferry.branch
    return [
        sender.letter(
            f"{name}/commit", Kind.COMMIT, {"branch": branch, "base": base, "files": files, "message": title}
        ),
        sender.letter(
            name,
            Kind.PULL_REQUEST,
            {"title": title, "text": text, "head": branch, "base": base, "labels": labels_of(sender.form)},
        ),
    ]


def withdrawal_letters(sender: Sender, *, revision: int, proposal: str, why: str) -> list[Letter]:
    """Return the end of a pull request whose proposal is no longer open: the reason as a comment, then its closing."""
    request = request_name(revision)
    text = f"Proposal `{proposal}` is closed, and a yes to it no longer counts: {inline(why)}.\n"
    return [
        sender.letter(f"{request}/withdrawn", Kind.COMMENT, {"text": text}, about=request),
        sender.letter(f"{request}/close", Kind.CLOSE, {"reason": "not_planned"}, about=request),
    ]


def launch_letters(sender: Sender, launched: pages.Launched) -> list[Letter]:
    """Return the run's issue on the forge and its thread in the chat; a canary that goes well opens neither."""
    if sender.form == "canary":
        return []
    body: dict[str, Json] = {"title": pages.issue_title(launched), "text": pages.issue_text(launched)}
    return [
        sender.letter("issue", Kind.ISSUE, {**body, "labels": labels_of(sender.form)}),
        sender.letter("issue", Kind.ISSUE, body, channel=DISCORD),
    ]


def status_letter(sender: Sender, text: str) -> list[Letter]:
    """Return the newest status block; it takes the place of the one before."""
    return [] if sender.form == "canary" else [sender.letter("status", Kind.STATUS, {"text": text}, about="issue")]


def canary_letters(sender: Sender, text: str) -> list[Letter]:
    """Return the issue of a canary that has not passed."""
    title = f"[canary-{sender.campaign}] {sender.run} has not passed"
    body: dict[str, Json] = {"title": title, "text": text}
    return [
        sender.letter("issue", Kind.ISSUE, {**body, "labels": ["bug", "ferry", "ferry-canary"]}),
        sender.letter("issue", Kind.ISSUE, body, channel=DISCORD),
    ]


def closing_letters(
    sender: Sender, ended: pages.Ended, *, entry: str, log: str, seal: str, evidence: str = ""
) -> list[Letter]:
    """Return the end of a ferry: comment, labels, closed issue, the log's pull request, and the seal.

    `entry` is this ferry's entry, `log` the whole log, `evidence` what is known of its failure. A canary tells of
    itself only when it has not passed, whether it failed or was cancelled, in an issue that begins with its evidence.
    """
    failed = bool(ended.judged["failure"])
    if sender.form == "canary" and not failed:
        return []
    closing = pages.closing_text(ended)
    if sender.form == "canary":
        return canary_letters(sender, f"{evidence}\n{closing}" if evidence else closing)
    letters = sender.said("closing", closing, chat=True)
    branch = f"ferry-log/{sender.run}"
    message = f"Record ferry {sender.run}"
    base = sender.definition.ferry.branch
    kept = [*labels_of(sender.form), *(["ferry-sealed"] if seal else []), *(["ferry-failed"] if failed else [])]
    among: list[Json] = [*labels_of(sender.form), "ferry-sealed", "ferry-failed"]
    letters += [
        sender.letter("labels", Kind.LABELS, {"wanted": kept, "among": among}, about="issue"),
        sender.letter(
            "log/commit",
            Kind.COMMIT,
            {"branch": branch, "base": base, "files": {log_path(sender.campaign): log}, "message": message},
        ),
        sender.letter(
            "log",
            Kind.PULL_REQUEST,
            {
                "title": message,
                "text": entry,
                "head": branch,
                "base": base,
                "labels": [*labels_of(sender.form), "ferry-log-only"],
            },
        ),
    ]
    if seal:
        tag: dict[str, Json] = {"tag": seal, "message": f"Ferry {sender.run}\n\n{entry}", "commit": ended.commit}
        letters.append(sender.letter("seal", Kind.TAG, tag))
    # The issue of a ferry that failed stays open: somebody has to look.
    return letters if failed else [*letters, sender.letter("close", Kind.CLOSE, {"reason": "completed"}, about="issue")]


def promotion_letters(sender: Sender, ended: pages.Ended, files: Mapping[str, str]) -> list[Letter]:
    """Return the pull request that makes the ferry's config the template's; `files` are the texts that change."""
    if sender.form == "canary" or not files:
        return []
    branch = f"ferry-promotion/{sender.run}"
    base, title = sender.definition.ferry.branch, f"Promote ferry {sender.run} to the template"
    ferry = sender.definition.ferry
    text = pages.promotion_text(ended, template=ferry.template, recipe=ferry.recipe)
    return [
        sender.letter(
            "promotion/commit", Kind.COMMIT, {"branch": branch, "base": base, "files": dict(files), "message": title}
        ),
        sender.letter(
            "promotion",
            Kind.PULL_REQUEST,
            {"title": title, "text": text, "head": branch, "base": base, "labels": labels_of(sender.form)},
        ),
    ]


def patch_letters(sender: Sender, patch: Patch, *, job: str, signature: str) -> list[Letter]:
    """Return the branch with a patch for a small bug, and its pull request; nobody but people merges it."""
    branch, base = branch_of_patch(job), sender.definition.ferry.branch
    title = f"Mend {job}: {_line(signature)[:SIGNATURE_SHOWN]}"
    message = f"{title}\n\n{_line(patch.rationale)}\n\nProposed by an agent; nothing of it has been run."
    files: dict[str, Json] = dict(patch.files)
    return [
        sender.letter(
            f"patch-{job}/commit",
            Kind.COMMIT,
            {"branch": branch, "base": patch.base, "files": files, "message": message},
        ),
        sender.letter(
            f"patch-{job}",
            Kind.PULL_REQUEST,
            {
                "title": title,
                "text": patch_text(patch, run=job, signature=signature),
                "head": branch,
                "base": base,
                "labels": [*labels_of(sender.form), "ferry-patch"],
            },
        ),
    ]


def _line(text: str) -> str:
    """Return what a log or an agent says as one visible line: in a commit's words it steers no terminal, no trailer."""
    return visible(" ".join(text.split()))


def seal_of(ferry: Ferry, *, form: str, commit: str) -> str:
    """Return the tag of a ferry's seal, empty where the commit is none that could be tagged: changed files, no git."""
    if form == "canary" or len(commit) != SHA_CHARACTERS:
        return ""
    return f"ferry/{form}/{day_of(ferry.run):%Y%m%d}/{ferry.run}"


def labels_of(form: str) -> list[Json]:
    """Return the labels by which ferries are found."""
    return ["ferry", f"ferry-{form}"]


def request_name(revision: int) -> str:
    """Return what the key of a proposal's pull request ends in."""
    return "proposal" if revision == 1 else f"proposal-{revision}"


def branch_of(run: str, revision: int) -> str:
    """Return the branch of a ferry's proposal."""
    return f"ferry/{run}" if revision == 1 else f"ferry/{run}-{revision}"


def log_path(campaign: str) -> str:
    """Return where the repository keeps a campaign's log of ferries."""
    return f"ferries/{campaign}/log.md"


def record_path(campaign: str, run: str) -> str:
    """Return where the repository keeps a ferry's proposal."""
    return f"ferries/{campaign}/{run}.md"


def log_text(campaign: str, entries: Sequence[str]) -> str:
    """Return the log of all ferries, newest first."""
    return "\n".join([f"# Ferries of {campaign}", "", *entries])


def judged_of(ferry: Ferry) -> Mapping[str, Json]:
    """Return a closed ferry's judgement."""
    assert ferry.judged is not None, f"ferry {ferry.run} is not judged"
    return ferry.judged
