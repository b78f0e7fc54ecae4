"""The road as a picture: what enters, what every deciding step keeps, by domain, and what leaves it there.

A Sankey diagram without a layout problem: a column for every state of the corpus, in each the domains in one order, the
kept part of a domain flowing on and the dropped part to a node under the next column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.reporting import numerals, svg

WIDTH = 920.0
LEFT, RIGHT = 118.0, 70.0
TOP = 46.0
HEIGHT = 210.0
NODE = 9.0
GAP = 3.0
MOST_GAPS = 60.0
"""All gaps of a column together, however many domains there are."""
LEAK = 26.0
"""Between the kept and the dropped in a column."""


@dataclass(frozen=True)
class State:
    """The corpus at one moment: what each domain holds then, and what of it has just been dropped."""

    name: str
    kept: Mapping[str, float]
    dropped: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.kept.values())


def flow(title: str, states: Sequence[State], tones: Mapping[str, str]) -> str:
    """Return the picture of a corpus that passes through `states`, in bytes; the first has dropped nothing yet."""
    if len(states) < 2 or not states[0].total:
        return ""
    scale = HEIGHT / states[0].total
    step = (WIDTH - LEFT - RIGHT - NODE) / (len(states) - 1)
    gap = min(GAP, MOST_GAPS / max(len(tones), 1))
    columns = [_stack(state.kept, scale, gap) for state in states]
    leaks = [_leak(state, column, scale) for state, column in zip(states, columns, strict=True)]
    marks: list[str] = []
    for at in range(len(states) - 1):
        x0, x1 = LEFT + at * step + NODE, LEFT + (at + 1) * step
        for domain in columns[at]:
            marks += _streams(
                domain, tones[domain], (x0, x1), columns[at], columns[at + 1], leaks[at + 1], states[at + 1]
            )
    for at, state in enumerate(states):
        marks += _column(LEFT + at * step, max(4, int(step / 7)), state, columns[at], leaks[at], tones)
    for domain, (top, bottom) in columns[0].items():
        if bottom - top >= 6:
            marks.append(svg.label(LEFT - 9, (top + bottom) / 2 + 4, domain, anchor="end", limit=16))
    low = max([b for stack in (*columns, *leaks) for _, b in stack.values()] + [TOP])
    told = "; ".join(f"{s.name}: {numerals.size(s.total)}" for s in states)
    return svg.picture(WIDTH, low + 38, title, told, marks)


Stack = dict[str, tuple[float, float]]


def _stack(values: Mapping[str, float], scale: float, gap: float) -> Stack:
    places, top = {}, TOP
    for domain, value in values.items():
        places[domain] = (top, top + value * scale)
        top += value * scale + gap
    return places


def _leak(state: State, column: Stack, scale: float) -> Stack:
    low = max([bottom for _, bottom in column.values()] + [TOP])
    places, y = {}, low + LEAK
    for domain, value in state.dropped.items():
        if value:
            places[domain] = (y, y + value * scale)
            y += value * scale
    return places


def _streams(
    domain: str, tone: str, across: tuple[float, float], before: Stack, after: Stack, leak: Stack, state: State
) -> list[str]:
    top, bottom = before[domain]
    kept, gone = after.get(domain, (0.0, 0.0)), leak.get(domain)
    split = min(bottom, top + kept[1] - kept[0])
    marks = []
    if split > top:
        said = f"{domain}: {numerals.size(state.kept[domain])} kept by {state.name}"
        marks.append(svg.path(svg.ribbon(*across, (top, kept[0]), (split, kept[1])), f"{tone} kept", said))
    if gone:
        said = f"{domain}: {numerals.size(state.dropped[domain])} dropped by {state.name}"
        marks.append(svg.path(svg.ribbon(*across, (split, gone[0]), (bottom, gone[1])), f"{tone} gone", said))
    return marks


def _column(x: float, room: int, state: State, column: Stack, leak: Stack, tones: Mapping[str, str]) -> list[str]:
    middle = x + NODE / 2
    marks = [
        svg.label(middle, 14, state.name, "strong", "middle", limit=room),
        svg.label(middle, 31, numerals.size(state.total), "num", "middle"),
    ]
    for stack, values, kind in ((column, state.kept, ""), (leak, state.dropped, " gone")):
        for domain, (top, bottom) in stack.items():
            said = f"{domain}: {numerals.size(values[domain])}"
            marks.append(svg.rect(x, top, NODE, max(bottom - top, 0.5), f"{tones[domain]}{kind}", said))
    if leak:
        low, gone = max(bottom for _, bottom in leak.values()), sum(state.dropped.values())
        marks.append(svg.label(middle, low + 15, f"{numerals.MINUS}{numerals.size(gone)}", "axis", "middle"))
        marks.append(svg.label(middle, low + 30, numerals.share(gone, state.total + gone), "axis", "middle"))
    return marks
