"""What `corpusmill show` found: plain values for machines, and the same on one screen for people."""

import io
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipeline.reporting import numerals
from pipeline.reporting.plain import visible

Rows = Sequence[Mapping[str, Any]]

LINES = 14
"""Lines of one example text that a screen gets."""
LISTED = 12
LIST_WIDTH = 60
ROWS = 40
"""Rows of one table that a screen gets; the last of them is the last row, which may be a sum."""
PLACES = {"shard", "row", "keeper_shard", "keeper_row"}
"""Columns that say where a document lies: for machines."""


@dataclass(frozen=True)
class Description:
    """A thing on disk, described.

    `kind` is corpus, sequences, build, root, parquet, plan, tokenizer or model. All values are plain JSON; sizes are
    bytes and their names end in `bytes`. `damage` holds a line for every file that is not as it was written; it is None
    where nobody asked or nothing can be known.
    """

    kind: str
    path: str
    summary: Mapping[str, Any]
    tables: Mapping[str, Rows] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    example: Mapping[str, Any] = field(default_factory=dict)
    damage: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain JSON."""
        return {
            "kind": self.kind,
            "path": self.path,
            "summary": dict(self.summary),
            "tables": {title: [dict(row) for row in rows] for title, rows in self.tables.items()},
            "details": dict(self.details),
            "example": dict(self.example),
            "damage": None if self.damage is None else list(self.damage),
        }

    def to_text(self, width: int | None = None) -> str:
        """Return the description for a screen of so many columns; that of the terminal if None."""
        width = width or max(60, shutil.get_terminal_size((120, 40)).columns)
        blocks = [f"{self.kind}  {self.path}", _listed(self.summary)]
        blocks += [_table(title, rows, width) for title, rows in self.tables.items() if rows]
        blocks += [_section(title, _tree(values)) for title, values in self.details.items() if values]
        if self.example:
            blocks.append(_section("example", _example(self.example, width)))
        if self.damage is not None:
            blocks.append(
                "\n".join(("damaged:", *self.damage)) if self.damage else "verified: every file is as written"
            )
        return "\n\n".join(blocks)

    def __str__(self) -> str:
        return self.to_text()


def split(facts: Mapping[str, Any]) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Return the facts that are tables as such, and the others.

    A table is a list of flat objects, name -> such an object, or name -> name -> such an object.
    """
    tables = {title: rows for title, fact in facts.items() if (rows := _as_rows(fact))}
    return tables, {name: value for name, value in facts.items() if name not in tables}


def _as_rows(fact: Any) -> Rows:
    if isinstance(fact, Mapping):
        if all(map(_is_record, fact.values())):
            return [{"name": name, **part} for name, part in fact.items()]
        if all(isinstance(part, Mapping) and all(map(_is_record, part.values())) for part in fact.values()):
            return [{"name": name, "of": of, **part} for name, parts in fact.items() for of, part in parts.items()]
    return fact if isinstance(fact, list) and all(map(_is_record, fact)) else []


def _is_record(value: Any) -> bool:
    return isinstance(value, Mapping) and not any(isinstance(part, Mapping | list) for part in value.values())


def _listed(values: Mapping[str, Any]) -> str:
    widest = max(map(len, values), default=0)
    return "\n".join(f"  {name:<{widest}}  {_cell(name, value)}" for name, value in values.items())


def _section(title: str, body: str) -> str:
    return f"{title}\n{body}"


def _tree(values: Mapping[str, Any], indent: str = "  ") -> str:
    widest = max((len(name) for name, value in values.items() if not _nests(value)), default=0)
    lines = []
    for name, value in list(values.items())[: 4 * LISTED]:
        if _nests(value):
            lines += [f"{indent}{visible(name)}", _tree(value, indent + "  ")]
        else:
            lines.append(f"{indent}{visible(name):<{widest}}  {_cell(name, value)}")
    if len(values) > 4 * LISTED:
        lines.append(f"{indent}… {len(values) - 4 * LISTED:,} more")
    return "\n".join(lines)


def _nests(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return _list(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return numerals.size(value) if name.endswith("bytes") else numerals.number(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = visible(str(value))
    return text if len(text) <= 400 else text[:399] + "…"


def _list(values: Sequence[Any]) -> str:
    """Return as many values as fit on half a screen, and how many there are more."""
    shown: list[str] = []
    for value in values[:LISTED]:
        shown.append(_cell("", value))
        if sum(map(len, shown)) > LIST_WIDTH:
            break
    more = f", … {len(values) - len(shown):,} more" if len(values) > len(shown) else ""
    return ", ".join(shown) + more or "–"


def _table(title: str, rows: Rows, width: int) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="")
    names = list(dict.fromkeys(name for row in rows for name in row if name not in PLACES))
    left_out = len(rows) - ROWS
    for name in names:
        numbers = all(_is_number(row.get(name)) for row in rows)
        # With spaces a long name breaks between words.
        table.add_column(name.replace("_", " "), justify="right" if numbers else "left", overflow="fold")
    for row in rows if left_out <= 0 else rows[: ROWS - 1]:
        table.add_row(*_cells(row, names))
    if left_out > 0:
        table.add_row(f"… {left_out:,} more")
        table.add_row(*_cells(rows[-1], names))
    screen = io.StringIO()
    Console(file=screen, width=width, highlight=False, markup=False, emoji=False, color_system=None).print(table)
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    return "\n".join(line for line in lines if line)


def _cells(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return ["" if row.get(name) is None else _cell(name, row[name]) for name in names]


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and value.endswith(" %"))


def _example(values: Mapping[str, Any], width: int) -> str:
    """Return the fields of an example row, texts last, each as a block of its own."""
    short = {n: v for n, v in values.items() if not _is_block(v)}
    blocks = [_tree(short)] if short else []
    for name, value in values.items():
        if isinstance(value, list) and _is_block(value):
            blocks += [_example_part(part, width) for part in value]
        elif _is_block(value):
            blocks.append(f"  {visible(name)}\n{framed(value, width)}")
    return "\n".join(blocks)


def _example_part(part: Mapping[str, Any], width: int) -> str:
    head = "  ".join(f"{name} {_cell(name, value)}" for name, value in part.items() if name != "text")
    text = part.get("text")
    return f"  {head}\n{framed(text, width, LINES // 2)}" if text else f"  {head}"


def _is_block(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], Mapping)
    return isinstance(value, str) and ("\n" in value or len(value) > 60)


def framed(text: str, width: int, most: int = LINES) -> str:
    """Return a text behind a bar at its left, folded to the width, its end left out after `most` lines."""
    fold = partial(textwrap.wrap, width=width - 6, replace_whitespace=False, drop_whitespace=False)
    lines = [part for line in visible(text).splitlines() for part in fold(line) or [""]]
    shown = lines if len(lines) <= most else [*lines[: most - 1], "…"]
    return "\n".join(f"    │ {line}".rstrip() for line in shown)
