"""The few marks that pictures are drawn of, as SVG text. Coordinates are user units; colours are CSS classes.

A picture takes the width of its place (its viewBox scales) and says what it shows in `<title>` and `<desc>`. Every mark
that carries a number has a `<title>` of its own, which a browser shows on hover and a screen reader reads.
"""

from collections.abc import Sequence

from pipeline.reporting.plain import escaped

LEAST = 600
"""Pixels below which a picture is scrolled and no longer made smaller, so that its words stay legible."""


def picture(width: float, height: float, title: str, description: str, marks: Sequence[str]) -> str:
    """Return a whole `<svg>` of the given size in user units."""
    return (
        f'<svg viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{escaped(title)}" '
        f'style="max-width:{_n(width)}px;min-width:{_n(min(width, LEAST))}px" xmlns="http://www.w3.org/2000/svg"><title>{escaped(title)}</title>'
        f"<desc>{escaped(description)}</desc>{''.join(marks)}</svg>"
    )


def rect(x: float, y: float, width: float, height: float, tone: str, title: str = "") -> str:
    """Return a filled rectangle; one that has an extent is never too thin to see."""
    width = max(width, 0.75) if width > 0 else 0.0
    return (
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" class="{tone}">{_title(title)}</rect>'
    )


def path(d: str, tone: str, title: str = "") -> str:
    """Return a path."""
    return f'<path d="{d}" class="{tone}">{_title(title)}</path>'


def dot(x: float, y: float, tone: str, title: str = "") -> str:
    """Return a small disc."""
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="3.5" class="{tone}">{_title(title)}</circle>'


def line(x1: float, y1: float, x2: float, y2: float, tone: str = "rule") -> str:
    """Return a straight line."""
    return f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" class="{tone}"/>'


def label(x: float, y: float, words: str, tone: str = "", anchor: str = "start", limit: int = 0) -> str:
    """Return a line of text with its baseline at y; with a limit, longer words are cut and kept whole in the title."""
    cut = words if not limit or len(words) <= limit else words[: limit - 1] + "…"
    kind = f' class="{tone}"' if tone else ""
    hint = "" if cut == words else _title(words)
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{kind}>{escaped(cut)}{hint}</text>'


def ribbon(left: float, right: float, tops: tuple[float, float], bottoms: tuple[float, float]) -> str:
    """Return the path data of a band that swings from one height at `left` to another at `right`."""
    middle = _n((left + right) / 2)
    (t0, t1), (b0, b1) = tops, bottoms
    return (
        f"M{_n(left)},{_n(t0)}C{middle},{_n(t0)} {middle},{_n(t1)} {_n(right)},{_n(t1)}"
        f"L{_n(right)},{_n(b1)}C{middle},{_n(b1)} {middle},{_n(b0)} {_n(left)},{_n(b0)}Z"
    )


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """Return the path data of a line through points."""
    return "M" + "L".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _title(words: str) -> str:
    return f"<title>{escaped(words)}</title>" if words else ""


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
