"""The pictures of the report: pure functions from numbers to SVG text. The same numbers give the same bytes.

`tone` is a CSS class of the page's style: `d0`..`d9` and `dx` stand for domains, `r0`..`r7` for reasons, `keep` and
`want` for what is neither, `less` and `more` for numbers below and above 0.
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


@dataclass(frozen=True)
class Line:
    """A line through points (x, y, what is said of it), each from 0 to 1."""

    name: str
    tone: str
    points: tuple[tuple[float, float, str], ...]


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
    square = _Square(axes)
    at = square.at
    drawn = [
        *square.grid(),
        svg.path(svg.polyline([at(i / points, function(i / points)) for i in range(points + 1)]), "stroke"),
    ]
    told = ""
    if mark:
        x, y = at(mark.x, function(mark.x))
        floor = at(0, 0)[1]
        told = f"at {mark.x:g}: {function(mark.x):.4f}"
        drawn += [svg.line(x, 12, x, floor, "mark"), f'<circle cx="{x:.2f}" cy="{y:.2f}" r="4" class="spot"/>']
        for line, words in enumerate((f"{axes[1]} {function(mark.x):.4f}", mark.name)):
            drawn.append(svg.label(x - 8, floor - 8 - 16 * line, words, "pointed", "end"))
    return svg.picture(square.width, square.height, title, told, [*drawn, *square.words()])


def lines(title: str, series: Sequence[Line], *, axes: tuple[str, str]) -> str:
    """Return lines through points in the unit square, and its diagonal."""
    square = _Square(axes)
    drawn = [*square.grid(), svg.line(*square.at(0, 0), *square.at(1, 1), "even")]
    for line in reversed(series):
        places = [square.at(x, y) for x, y, _ in line.points]
        drawn.append(svg.path(svg.polyline(places), f"{line.tone} thread") if places else "")
        for (x, y), (score, share, said) in zip(places, line.points, strict=True):
            drawn.append(svg.rect(x - 3.5, y - 3.5, 7, 7, line.tone, f"{line.name}, {score:.3f}: {share:.3f}, {said}"))
    told = "; ".join(f"{n.name}: {', '.join(f'{x:.2f} {y:.2f}' for x, y, _ in n.points)}" for n in series)
    return svg.picture(square.width, square.height, title, told, [*drawn, *square.words()])


def scatter(title: str, points: Sequence[tuple[float, float, str]], *, axes: tuple[str, str]) -> str:
    """Return points (x, y, what is said of it) on one scale for both axes, with the diagonal; nothing for no points."""
    if not points:
        return ""
    values = [value for x, y, _ in points for value in (x, y)]
    low, size = min(values), (max(values) - min(values)) or 1.0
    low, size = low - 0.04 * size, 1.08 * size
    square = _Square(axes, low=low, size=size)
    drawn = [*square.grid(), svg.line(*square.at(0, 0), *square.at(1, 1), "even")]
    for x, y, said in points:
        drawn.append(svg.dot(*square.at((x - low) / size, (y - low) / size), "keep", said))
    told = f"{len(points)} points from {min(values):.4g} to {max(values):.4g}"
    return svg.picture(square.width, square.height, title, told, [*drawn, *square.words()])


SHADES = 5
"""Steps of strength that a cell of a heat map may have; their classes are `h1`..`h5`."""


def heat(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a map of numbers, a row and a column for each name: blue below 0, red above, stronger the farther off.

    A column without a number in some row is empty there.
    """
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not columns:
        return ""
    most = max((abs(value) for row in rows.values() for value in row.values()), default=0) or 1
    step, height = min((WIDTH - LEFT) / len(columns), 120.0), 26.0
    drawn = [
        svg.label(LEFT + (at + 0.5) * step, 14, name, "axis", "middle", max(int(step / 7), 3))
        for at, name in enumerate(columns)
    ]
    for down, (name, row) in enumerate(rows.items()):
        y = 22 + down * height
        drawn.append(svg.label(LEFT - 10, y + 17, name, anchor="end", limit=TEXT))
        for at, column in enumerate(columns):
            if column in row:
                drawn += _cell(
                    LEFT + at * step, y, (step, height), row[column] / most, f"{name}, {column}", row[column]
                )
    told = "; ".join(f"{name}: {', '.join(f'{c} {_signed(v)}' for c, v in row.items())}" for name, row in rows.items())
    return svg.picture(LEFT + len(columns) * step, 24 + len(rows) * height, title, told, drawn)


def _cell(x: float, y: float, size: tuple[float, float], part: float, name: str, value: float) -> list[str]:
    tone = f"{'less' if part < 0 else 'more'} h{max(1, round(abs(part) * SHADES))}"
    marks = [svg.rect(x + 1, y + 1, size[0] - 2, size[1] - 2, tone, f"{name}: {_signed(value)}")]
    if size[0] >= 52:
        marks.append(svg.label(x + size[0] / 2, y + 17, _signed(value), "", "middle"))
    return marks


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", numerals.MINUS) if value else "0"


@dataclass(frozen=True)
class _Square:
    """A square of the page, x and y from 0 to 1, with its grid and the names of its axes.

    The numbers at the grid are `low` + what they stand at times `size`.
    """

    axes: tuple[str, str]
    low: float = 0.0
    size: float = 1.0
    width: float = 460.0
    height: float = 250.0
    left: float = 52.0
    foot: float = 40.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies."""
        across, up = self.width - self.left - 16, self.height - self.foot - 20
        return self.left + x * across, self.height - self.foot - y * up

    def grid(self) -> list[str]:
        """Return a line across and the numbers at every quarter."""
        drawn = []
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            x, y = self.at(tick, tick)
            number = f"{self.low + tick * self.size:.3g}"
            drawn += [
                svg.line(self.left, y, self.at(1, 0)[0], y),
                svg.label(self.left - 8, y + 4, number, "axis", "end"),
            ]
            drawn.append(svg.label(x, self.height - self.foot + 16, number, "axis", "middle"))
        return drawn

    def words(self) -> list[str]:
        """Return the names of the axes."""
        return [
            svg.label(self.at(0.5, 0)[0], self.height - 6, self.axes[0], "axis", "middle"),
            svg.label(self.left, 12, self.axes[1], "axis"),
        ]
