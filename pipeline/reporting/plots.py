"""The pictures of the report: pure functions from numbers to SVG text. The same numbers give the same bytes.

`tone` is a CSS class of the page's style: `d0`..`d9` and `dx` stand for domains, `r0`..`r7` for reasons, `keep` and
`want` for what is neither.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.reporting import numerals, svg

WIDTH = 920.0
LEFT = 150.0
RIGHT = 110.0
TEXT = 20
"""Characters of a name that fit into the left margin."""


@dataclass(frozen=True)
class Bar:
    """One value: how long, in which colour, and what is said of it."""

    value: float
    tone: str
    title: str


@dataclass(frozen=True)
class Row:
    """One line of a bar picture: its name, its bars and the number written at its end."""

    name: str
    bars: tuple[Bar, ...]
    note: str = ""


@dataclass(frozen=True)
class Mark:
    """A place on the horizontal axis that is pointed out."""

    x: float
    name: str


def stacked(title: str, rows: Sequence[Row], *, whole: float | None = None) -> str:
    """Return one horizontal bar a row, its parts end to end.

    Args:
        whole: what the full width stands for; the longest row if None.
    """
    most = whole or max((sum(bar.value for bar in row.bars) for row in rows), default=0) or 1
    marks, y = [], 4.0
    for row in rows:
        marks.append(svg.label(LEFT - 10, y + 13, row.name, anchor="end", limit=TEXT))
        x = LEFT
        for bar in row.bars:
            width = bar.value / most * (WIDTH - LEFT - RIGHT)
            if width > 0:
                marks.append(svg.rect(x, y, width, 18, bar.tone, f"{row.name}: {bar.title}"))
            x += width
        marks.append(svg.label(x + 8, y + 13, row.note, "num"))
        y += 26
    return svg.picture(WIDTH, y + 2, title, _told(rows), marks)


def grouped(title: str, rows: Sequence[Row]) -> str:
    """Return for every row its bars under each other, from one common zero; each bar's title ends it."""
    most = max((bar.value for row in rows for bar in row.bars), default=0) or 1
    marks, y = [], 4.0
    for row in rows:
        height = 12.5 if len(row.bars) > 1 else 16.0
        block = len(row.bars) * (height + 2)
        marks.append(svg.label(LEFT - 10, y + block / 2 + 3, row.name, anchor="end", limit=TEXT))
        for bar in row.bars:
            width = bar.value / most * (WIDTH - LEFT - RIGHT)
            marks.append(svg.rect(LEFT, y, width, height, bar.tone, f"{row.name}: {bar.title}"))
            marks.append(svg.label(LEFT + width + 8, y + height - (2 if height < 16 else 3.5), bar.title, "num"))
            y += height + 2
        y += 10
    return svg.picture(WIDTH, y, title, _told(rows), marks)


def _told(rows: Sequence[Row]) -> str:
    return "; ".join(f"{row.name}: {', '.join(bar.title for bar in row.bars)}" for row in rows)


def ridges(
    title: str,
    histograms: Mapping[str, tuple[str, Sequence[float]]],
    *,
    names: Sequence[str],
    axis: str,
    marks: Sequence[Mark] = (),
    cuts: Mapping[str, float] | None = None,
) -> str:
    """Return a small histogram a row over one common axis of equal bins; each row has its own height.

    Args:
        histograms: row -> (tone, counts [B]).
        names: [B + 1] what is written at the bins' edges; an empty one is not written.
        axis: what the axis counts.
        marks: `x` is in bins, 0..B.
        cuts: row -> a place on the axis that is pointed out in that row only.
    """
    bins = len(names) - 1
    step = (WIDTH - LEFT - RIGHT) / max(bins, 1)
    height = 38.0
    drawn, y = [], 18.0 if marks else 4.0
    top = y
    for name, (tone, counts) in histograms.items():
        most = max(counts, default=0) or 1
        base = y + height
        for at, value in enumerate(counts):
            if value:
                tall = max(value / most * (height - 4), 0.75)
                said = f"{name}, {_bin(names, at)}: {numerals.count(value)}"
                drawn.append(svg.rect(LEFT + at * step, base - tall, max(step - 1, 0.75), tall, tone, said))
        drawn.append(svg.line(LEFT, base, WIDTH - RIGHT, base))
        if cuts and name in cuts:
            drawn.append(svg.line(LEFT + cuts[name] * step, y, LEFT + cuts[name] * step, base, "mark"))
        drawn.append(svg.label(LEFT - 10, base - 4, name, anchor="end", limit=TEXT))
        drawn.append(svg.label(WIDTH - RIGHT + 10, base - 4, numerals.count(sum(counts)), "num"))
        y = base + 6
    for mark in marks:
        x = LEFT + mark.x * step
        drawn += [svg.line(x, top - 4, x, y - 6, "mark"), svg.label(x, top - 8, mark.name, "pointed", "middle")]
    drawn += [svg.label(LEFT + i * step, y + 10, n, "axis", "middle") for i, n in enumerate(names) if n]
    drawn.append(svg.label((LEFT + WIDTH - RIGHT) / 2, y + 27, axis, "axis", "middle"))
    told = "; ".join(f"{name}: {numerals.count(sum(counts))}" for name, (_, counts) in histograms.items())
    return svg.picture(WIDTH, y + 34, title, told, drawn)


def _bin(names: Sequence[str], at: int) -> str:
    near = [n for n in names[at : at + 2] if n]
    return " to ".join(near) if len(near) == 2 else f"bin {at + 1} of {len(names) - 1}"


def curve(
    title: str,
    function: Callable[[float], float],
    *,
    axes: tuple[str, str],
    mark: Mark | None = None,
    points: int = 120,
) -> str:
    """Return the graph of a function from 0..1 to 0..1, with the place of `mark` and its value pointed out."""
    width, height, left, low = 460.0, 250.0, 52.0, 40.0
    across, up = width - left - 16, height - low - 20

    def at(x: float) -> tuple[float, float]:
        return left + x * across, height - low - function(x) * up

    drawn = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = left + tick * across, height - low - tick * up
        drawn += [svg.line(left, y, left + across, y), svg.label(left - 8, y + 4, f"{tick:g}", "axis", "end")]
        drawn.append(svg.label(x, height - low + 16, f"{tick:g}", "axis", "middle"))
    drawn.append(svg.path(svg.polyline([at(i / points) for i in range(points + 1)]), "stroke"))
    told = ""
    if mark:
        x, y = at(mark.x)
        told = f"at {mark.x:g}: {function(mark.x):.4f}"
        drawn += [svg.line(x, 12, x, height - low, "mark"), f'<circle cx="{x:.2f}" cy="{y:.2f}" r="4" class="spot"/>']
        for line, words in enumerate((f"{axes[1]} {function(mark.x):.4f}", mark.name)):
            drawn.append(svg.label(x - 8, height - low - 8 - 16 * line, words, "pointed", "end"))
    drawn.append(svg.label(left + across / 2, height - 6, axes[0], "axis", "middle"))
    drawn.append(svg.label(left, 12, axes[1], "axis"))
    return svg.picture(width, height, title, told, drawn)
