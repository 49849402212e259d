"""Settings → the channels by which letters leave, and what is read of the forge."""

from __future__ import annotations

import secrets
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from pilothouse.engine.engine import Engine
from pilothouse.engine.forge_watch import Bell, ForgeWatch, watching
from pilothouse.engine.ownership import own_engine
from pilothouse.engine.postman import Books, delivering
from pilothouse.errors import OperationFailed, Refused, UsageError
from pilothouse.logbook.letter import LetterState
from pilothouse.ports.channel import Channel
from pilothouse.ports.clock import Clock
from pilothouse.ports.store import Store, Transaction
from pilothouse.publish import fields
from pilothouse.publish.discord import DiscordChannel
from pilothouse.publish.github.auth import AppAuth, AppKey, Auth, TokenAuth
from pilothouse.publish.github.client import API, GithubClient
from pilothouse.publish.github.delivery import GithubChannel
from pilothouse.publish.github.reading import GithubForge, GithubIssues
from pilothouse.publish.github.repository import Repository
from pilothouse.publish.local import LocalChannel
from pilothouse.settings import Publishing
from pilothouse.wiring.lead import lead
from pilothouse.wiring.workspace import SystemClock, Workspace

SECRET_BYTES_MAX = 16_384
T = TypeVar("T")


class StoreBooks(Books):
    """A postman's books over a store that no engine works on."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def apply(self, act: Callable[[Transaction], T]) -> T:
        """Return what the act returned, once it is committed."""
        with self._store.write() as tx:
            return act(tx)

    def read(self) -> AbstractContextManager[Transaction]:
        """Begin a reading transaction."""
        return self._store.read()

    @property
    def clock(self) -> Clock:
        """The clock of record."""
        return self._clock


def channels_of(workspace: Workspace) -> Sequence[Channel]:
    """Return every way out that is configured; the pages of the home always are."""
    found: list[Channel] = [LocalChannel(workspace.home)]
    settings, clock = workspace.publishing, workspace.clock
    repository = repository_of(settings, clock)
    if repository is not None:
        found.append(GithubChannel(repository))
    webhook = secret(settings.discord_webhook, settings.discord_webhook_file, name="discord_webhook")
    if webhook is not None:
        found.append(DiscordChannel(webhook, clock))
    if settings.apprise_file is not None:
        from pilothouse.publish.apprise import AppriseChannel  # noqa: PLC0415  an optional extra

        text = secret(None, settings.apprise_file, name="apprise") or ""
        found.append(AppriseChannel([line.strip() for line in text.splitlines() if line.strip()]))
    return found


def repository_of(settings: Publishing, clock: Clock) -> Repository | None:
    """Return the repository that is configured, None where no repository or no credential is named."""
    auth = _auth(settings)
    if settings.github_repository is None or auth is None:
        return None
    client = GithubClient(settings.github_url or API, auth, clock)
    try:
        return Repository(client, settings.github_repository)
    except UsageError:
        client.close()
        raise


def approvers_of(settings: Publishing) -> frozenset[str]:
    """Return the logins whose word on the forge counts, in lower case."""
    names = (settings.github_approvers or "").replace(",", " ").split()
    return frozenset(name.removeprefix("@").casefold() for name in names)


def secret(value: str | None, file: str | None, *, name: str) -> str | None:
    """Return a secret from the environment, or from its file, which only its owner may be able to read."""
    if value:
        return value.strip()
    if file is None:
        return None
    path = Path(file).expanduser()
    setting = f"{name}_file"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise Refused(f"{path} can be read by others (mode {mode:04o})", fix=f"chmod 600 {path}")
        text = path.read_bytes()[:SECRET_BYTES_MAX].decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise OperationFailed(f"{path} cannot be read: {why}", fix=f"mend the setting {setting}") from error
    if not text:
        raise OperationFailed(f"{path} is empty", fix=f"mend the setting {setting}")
    return text


def _auth(settings: Publishing) -> Auth | None:
    """Return how we show who we are: as an App where one is named, or else by the token."""
    app, installation = settings.github_app, settings.github_installation
    if app is not None and installation is not None and settings.github_app_key_file is not None:
        key = secret(None, settings.github_app_key_file, name="github_app_key") or ""
        return AppAuth(AppKey(app=app, installation=installation, key=key))
    token = secret(settings.github_token, settings.github_token_file, name="github_token")
    return None if token is None else TokenAuth(token=token)


def issues_of(workspace: Workspace) -> GithubIssues | None:
    """Return where issues are read from, None where no forge is configured."""
    repository = repository_of(workspace.publishing, workspace.clock)
    return None if repository is None else GithubIssues(repository)


def hook_secret_of(settings: Publishing) -> bytes | None:
    """Return the secret with which webhooks are signed, None where none are taken."""
    found = secret(settings.github_webhook_secret, settings.github_webhook_secret_file, name="github_webhook_secret")
    return None if found is None else found.encode()


@contextmanager
def publishing(workspace: Workspace, engine: Engine, bell: Bell) -> Iterator[None]:
    """Deliver letters for the block, and read approvals from the forge where some may be given there."""
    approvers = approvers_of(workspace.publishing)
    repository = repository_of(workspace.publishing, workspace.clock) if approvers else None
    with ExitStack() as stack:
        stack.enter_context(delivering(engine, channels_of(workspace)))
        if repository is not None:
            stack.callback(repository.client.close)
            forge = GithubForge(repository, approvers=approvers)
            stack.enter_context(watching(ForgeWatch(engine, forge, rung=bell.heard)))
        yield


def configured_of(workspace: Workspace) -> Sequence[str]:
    """Return the names of the channels that are configured."""
    channels = channels_of(workspace)
    for channel in channels:
        channel.close()
    return [channel.name for channel in channels]


def send_due(workspace: Workspace, *, seconds: float) -> Mapping[str, int]:
    """Deliver what is due, for so long at most, and return how many letters wait on each channel.

    Raises `AlreadyOwned` while a campaign or a server runs here, which delivers by itself.
    """
    books = StoreBooks(workspace.store, workspace.clock)
    with own_engine(workspace.home, boot=secrets.token_hex(8)) as owner:
        now_or_never = threading.Event()
        now_or_never.set()
        with (
            lead(workspace, owner, lambda: None, stop=now_or_never),
            delivering(books, channels_of(workspace), leave_seconds=seconds),
        ):
            pass
    with workspace.store.read() as tx:
        counts = tx.outbox.counts()
    return {name: count for (name, state), count in counts.items() if state is LetterState.WAITING}


def examine_forge(settings: Publishing) -> tuple[str, str]:
    """Return what a look at the forge finds, and what mends it, "" where nothing has to be."""
    if settings.github_repository is None:
        return "none is configured; letters to GitHub wait in the outbox", ""
    repository = repository_of(settings, SystemClock())
    if repository is None:
        return f"{settings.github_repository} has no credential", "set PILOTHOUSE_GITHUB_TOKEN or github_token_file"
    try:
        login = repository.client.login()
        permissions = fields.table(repository.itself(), "permissions")
    finally:
        repository.client.close()
    detail = f"{repository.name} as {login}"
    if permissions and not fields.truth(permissions, "push"):
        return f"{detail}, which may not write there", "give the token contents, issues and pull requests: write"
    if not approvers_of(settings):
        return f"{detail}; nobody may approve there", ""
    return f"{detail}; {len(approvers_of(settings))} may approve there", ""
