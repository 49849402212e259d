"""Tables and texts of results, in Rich; plain where the output is no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pilothouse.canonical import Json
from pilothouse.monitoring.quoted import plain

PLAIN_WIDTH = 200
"""Columns of a table that goes into a pipe: wide enough not to fold ids."""


GAP = 2
"""Letters between two columns."""


def console() -> Console:
    """Return the console of standard output."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Json]], *, screen: Console | None = None) -> None:
    """Print the rows; a value of None is shown as a dash. Values are data: nothing in them is taken for markup.

    On a terminal that is too narrow each row is shown as a block: folded, no id could be copied.
    """
    screen = console() if screen is None else screen
    if screen.is_terminal and _width(columns, rows) > screen.width:
        for row in rows:
            screen.print(Text(_block(columns, row)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(row.get(column))) for column in columns))
    screen.print(table)
    if not rows:
        screen.print(Text("(none)"))


def _width(columns: Sequence[str], rows: Sequence[Mapping[str, Json]]) -> int:
    """Return how many letters the longest row takes; an empty table is always narrow enough."""
    if not rows:
        return 0
    widths = (max(len(column), *(len(shown(row.get(column))) for row in rows)) for column in columns)
    return sum(widths) + GAP * (len(columns) - 1)


def _block(columns: Sequence[str], row: Mapping[str, Json]) -> str:
    longest = max(map(len, columns))
    return "".join(f"{column:<{longest}}  {shown(row.get(column))}\n" for column in columns)


def shown(value: Json) -> str:
    """Return a value as a person reads it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case _:
            return plain(str(value))


def duration(seconds: float) -> str:
    """Return seconds in the two units that say most."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
