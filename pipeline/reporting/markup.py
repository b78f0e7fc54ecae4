"""The pieces of the page: sections, tables, figures, keys. All words that come in are escaped here, and only here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.reporting import numerals
from pipeline.reporting.plain import escaped

Cell = str | int | float | None

SHOWN = 40
"""Entries of a list or mapping that are written out; the rest is counted."""


def words(text: str, tag: str = "p", kind: str = "") -> str:
    """Return text in a tag."""
    return f"<{tag}{_class(kind)}>{escaped(text)}</{tag}>"


def section(name: str, title: str, lead: str, *parts: str) -> str:
    """Return a section of the page with an anchor; empty parts fall out."""
    body = "".join(part for part in parts if part)
    opening = words(lead, kind="lead") if lead else ""
    return f'<section id="{escaped(name)}"><h2>{escaped(title)}</h2>{opening}{body}</section>'


def figure(picture: str, caption: str = "", key: str = "") -> str:
    """Return a picture with the key above and the caption below it; nothing for no picture."""
    if not picture:
        return ""
    return f"<figure>{key}{picture}{words(caption, 'figcaption') if caption else ''}</figure>"


def key(tones: Mapping[str, str]) -> str:
    """Return the key of a picture: name -> tone."""
    items = "".join(f'<li><span class="chip {tone}"></span>{escaped(name)}</li>' for name, tone in tones.items())
    return f'<ul class="key">{items}</ul>' if items else ""


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, left: int = 1, foot: Sequence[Cell] = ()) -> str:
    """Return a table: the first `left` columns are names, the others numbers, which align on the right."""
    body = "".join(_row(row, left) for row in rows)
    if not body:
        return ""
    titles = "".join(
        f'<th scope="col"{_class("" if i < left else "num")}>{escaped(h)}</th>' for i, h in enumerate(head)
    )
    end = f"<tfoot>{_row(foot, left)}</tfoot>" if foot else ""
    slim = " slim" if len(head) <= 3 else ""
    return f'<div class="wide{slim}"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody>{end}</table></div>'


def tiles(values: Mapping[str, tuple[str, str]]) -> str:
    """Return the great numbers at the top of a page or section: name -> (number, remark)."""
    items = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>{words(remark, 'dd', 'remark') if remark else ''}</div>"
        for name, (value, remark) in values.items()
    )
    return f'<dl class="tiles">{items}</dl>' if items else ""


def pairs(values: Mapping[str, Any]) -> str:
    """Return any JSON object as names and values, nested objects within."""
    shown = list(values.items())[:SHOWN]
    items = "".join(f"<dt>{escaped(str(name))}</dt><dd>{_value(value)}</dd>" for name, value in shown)
    if more := len(values) - len(shown):
        items += f"<dt>…</dt><dd>{more:,} more</dd>"
    return f'<dl class="pairs">{items}</dl>' if items else ""


def folded(title: str, body: str) -> str:
    """Return something that is closed until asked for, without a script; it prints open."""
    return f"<details><summary>{escaped(title)}</summary>{body}</details>" if body else ""


def code(text: str) -> str:
    """Return preformatted text."""
    return f'<pre tabindex="0">{escaped(text)}</pre>'


def quotes(texts: Iterable[tuple[str, str]]) -> str:
    """Return the beginnings of texts, each behind a word on it: (word, text)."""
    items = "".join(f"<dt>{escaped(word)}</dt><dd>{escaped(text)}</dd>" for word, text in texts)
    return f'<dl class="pairs quoted">{items}</dl>' if items else ""


def beside(left: tuple[str, str], right: tuple[str, str]) -> str:
    """Return two texts side by side, each under its heading: (heading, text)."""
    sides = "".join(
        f"<blockquote>{words(heading, kind='sub')}{words(text)}</blockquote>" for heading, text in (left, right)
    )
    return f'<div class="beside">{sides}</div>'


def columns(*parts: str) -> str:
    """Return parts side by side where there is room; empty ones fall out."""
    return f'<div class="two">{"".join(f"<div>{part}</div>" for part in parts if part)}</div>'


def _row(cells: Sequence[Cell], left: int) -> str:
    return f"<tr>{''.join(_cell(cell, i, left) for i, cell in enumerate(cells))}</tr>"


def _cell(cell: Cell, at: int, left: int) -> str:
    text = "" if cell is None else cell if isinstance(cell, str) else numerals.number(cell)
    if at == 0:
        return f'<th scope="row">{escaped(text)}</th>'
    return f"<td{_class('' if at < left else 'num')}>{escaped(text)}</td>"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return pairs(value) or "{}"
    if _is_table(value):
        return _table_of(value)
    if isinstance(value, list | tuple):
        shown = ", ".join(_plain(part) for part in value[:SHOWN])
        more = f" … {len(value) - SHOWN:,} more" if len(value) > SHOWN else ""
        return escaped(shown + more) or "–"
    return escaped(_plain(value))


def _is_table(value: Any) -> bool:
    """Tell whether a value is a list of flat objects."""
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(part, Mapping) and not any(map(_nests, part.values())) for part in value)
    )


def _nests(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    head = list(dict.fromkeys(str(name) for row in rows for name in row))
    cells = [[_plain(row.get(name)) for name in head] for row in rows[:SHOWN]]
    more = words(f"… {len(rows) - SHOWN:,} more") if len(rows) > SHOWN else ""
    return table([name.replace("_", " ") for name in head], cells, left=len(head)) + more


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool | int | float):
        return numerals.number(value)
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 400 else text[:399] + "…"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
