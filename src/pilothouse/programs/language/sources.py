"""Where text comes from: the standard library's own sources, a folder, or a hub.

A source yields documents in a fixed order and has a digest over its content, by which it is named. A document goes to
validation by the SHA-256 of its text, so that copies of a document are on one side.
"""

from __future__ import annotations

import hashlib
import json
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from pilothouse.trainer import OptionRefused, RunFolderBroken

VALIDATION_PERCENT: Final = 5
SPLIT_RULE: Final = "sha256-mod-100-below-5"
_TEXT_SUFFIXES: Final = (".txt", ".md", ".py")
_ROW_SUFFIXES: Final = (".jsonl", ".parquet")
_TEST_FOLDERS: Final = frozenset({"test", "tests", "idle_test"})
_FOREIGN_FOLDERS: Final = frozenset({"site-packages", "dist-packages", "__pycache__"})
_LOCAL_NAMES: Final = frozenset({"sitecustomize.py", "usercustomize.py"})
_PARQUET_ROWS: Final = 1024
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text, and the digest of its UTF-8."""

    text: str
    digest: bytes

    @property
    def validates(self) -> bool:
        """Whether it belongs to the validation split."""
        return int.from_bytes(self.digest[:8], "big") % 100 < VALIDATION_PERCENT


def document(text: str) -> Document:
    """Make a document of a text; halves of surrogate pairs, which no UTF-8 has, become question marks."""
    data = text.encode("utf-8", errors="replace")
    return Document(text=data.decode(), digest=hashlib.sha256(data).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Documents in a fixed order, under a name, with the digest of what they are made from."""

    name: str
    digest: str
    read: Callable[[], Iterator[Document]]


def library_source(*, tests: bool, root: Path | None = None) -> Source:
    """Return the Python modules of the standard library, or the tests among them, as documents.

    What the build has written for this machine is left out, so that the same release is the same corpus everywhere.
    Raises OptionRefused where this Python comes without them.
    """
    folder = root if root is not None else Path(sysconfig.get_path("stdlib"))
    name = "tests" if tests else "library"
    paths = sorted(path for path in folder.rglob("*.py") if _of_library(path.relative_to(folder), tests=tests))
    if not paths:
        raise OptionRefused(
            f"This Python has no sources for mix_{name} in {folder}.", fix=f"set mix_{name} = 0, or use another build."
        )
    return _of_files(name, folder, paths, column="")


def _of_library(path: Path, *, tests: bool) -> bool:
    folders = set(path.parts[:-1])
    if folders & _FOREIGN_FOLDERS or path.name in _LOCAL_NAMES or path.name.startswith("_sysconfigdata"):
        return False
    if any(part.startswith("config-") for part in folders):
        return False
    return bool(folders & _TEST_FOLDERS) is tests


def folder_source(folder: Path, *, column: str) -> Source:
    """Return the documents of a folder of texts, JSON lines or Parquet; raises RunFolderBroken if there are none."""
    suffixes = {*_TEXT_SUFFIXES, *_ROW_SUFFIXES}
    paths = sorted(path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())
    if not paths:
        raise RunFolderBroken(
            f"text_folder = {str(folder)!r} holds no {', '.join(sorted(suffixes))} file.", fix="name another folder."
        )
    return _of_files("text", folder, paths, column=column)


def _of_files(name: str, folder: Path, paths: list[Path], *, column: str) -> Source:
    whole = hashlib.sha256(column.encode())
    for path in paths:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"\n{path.relative_to(folder).as_posix()} {digest}".encode())

    def read() -> Iterator[Document]:
        for path in paths:
            yield from map(document, _texts(path, column))

    return Source(name=name, digest=whole.hexdigest(), read=read)


def _texts(path: Path, column: str) -> Iterator[str]:
    match path.suffix:
        case ".jsonl":
            return _json_texts(path, column)
        case ".parquet":
            return _parquet_texts(path, column)
        case _:
            return _plain_text(path)


def _plain_text(path: Path) -> Iterator[str]:
    """Yield the file's text; one in another encoding than UTF-8 is passed over, as is an empty one."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return
    if text:
        yield text


def _json_texts(path: Path, column: str) -> Iterator[str]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise RunFolderBroken(f"{path}, line {number}: {error}.", fix="mend or remove the line.") from error
            yield _field(row, column, f"{path}, line {number}")


def _parquet_texts(path: Path, column: str) -> Iterator[str]:
    parquet: Any = import_module("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise RunFolderBroken(f"{path} is no Parquet file: {error}.", fix="remove it from the folder.") from error
    if column not in file.schema_arrow.names:
        raise _no_column(str(path), column, file.schema_arrow.names)
    for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=[column]):
        yield from (str(text) for text in batch.column(0).to_pylist() if text)


def hub_source(rows: Iterable[Mapping[str, Any]], *, name: str, column: str, megabytes: int, into: Path) -> Source:
    """Keep the first `megabytes` of a stream of rows in the file `into`, and return them as a source.

    A stream can be read once and may change; what has been kept can be read at any step.
    """
    left = megabytes * _MEGABYTE
    with into.open("w", encoding="utf-8") as stream:
        for row in rows:
            text = _field(row, column, f"hub_dataset = {name!r}")
            stream.write(json.dumps({column: text}) + "\n")
            left -= len(text.encode("utf-8", errors="replace"))
            if left <= 0:
                break
    kept = _of_files("hub", into.parent, [into], column=column)
    return Source(name="hub", digest=kept.digest, read=kept.read)


def stream_of_hub(dataset: str, *, config: str | None, split: str) -> Iterable[Mapping[str, Any]]:
    """Open a dataset of a hub as a stream of rows, by the package `datasets`."""
    try:
        package: Any = import_module("datasets")
    except ImportError as error:
        raise OptionRefused(
            "mix_hub needs the package 'datasets'.", fix="install datasets, or set mix_hub = 0."
        ) from error
    rows: Iterable[Mapping[str, Any]] = package.load_dataset(dataset, config, split=split, streaming=True)
    return rows


def _field(row: object, column: str, where: str) -> str:
    if not isinstance(row, Mapping) or column not in row:
        raise _no_column(where, column, list(row) if isinstance(row, Mapping) else [])
    text = row[column]
    if not isinstance(text, str):
        raise RunFolderBroken(f"{where}: {column} is a {type(text).__name__}.", fix="give texts, or another column.")
    return text


def _no_column(where: str, column: str, there: list[str]) -> RunFolderBroken:
    return RunFolderBroken(
        f"{where} has no column {column!r}, only {', '.join(map(str, there)) or 'none'}.", fix="set text_column."
    )
