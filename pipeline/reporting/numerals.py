"""How numbers are written for people: counts, sizes, shares. Plain text, never markup."""

from typing import Any

MINUS = "−"
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
_COUNTS = ("", "k", "M", "G", "T")


def count(value: float) -> str:
    """Return a whole number with thousands separators: `1,234,567`."""
    return f"{round(value):,}".replace("-", MINUS)


def short(value: float) -> str:
    """Return a count in at most five characters: `942`, `11.7k`, `3.20M`."""
    number, unit = _scaled(value, _COUNTS)
    return f"{value:g}" if not unit and value == int(value) else _digits(number) + unit


def size(value: float) -> str:
    """Return bytes in decimal units: `831 B`, `47.1 MB`."""
    number, unit = _scaled(value, _SIZES)
    return f"{number:.0f} B" if unit == "B" else f"{_digits(number)} {unit}"


def share(part: float, whole: float) -> str:
    """Return part of whole in percent: `4.5 %`; a dash for no whole, `< 0.1 %` for what would round to nothing."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < abs(percent) < 0.05:
        return "< 0.1 %"
    return f"{percent:.1f} %".replace("-", MINUS)


def number(value: Any) -> str:
    """Return any number as short as it may be said without being wrong: integers whole, others with 4 digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if value == int(value) and abs(value) < 1e15:
        return count(value)
    return f"{value:.4g}".replace("-", MINUS)


def _scaled(value: float, units: tuple[str, ...]) -> tuple[float, str]:
    number, place = float(value), 0
    while abs(number) >= 999.5 and place < len(units) - 1:
        number, place = number / 1000, place + 1
    return number, units[place]


def _digits(number: float) -> str:
    return f"{number:.{0 if abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2}f}".replace("-", MINUS)


def binary(value: int) -> str:
    """Return a power of two as people say it: `512`, `2Ki`."""
    place = 0
    while value >= 1024 and value % 1024 == 0:
        value, place = value // 1024, place + 1
    return f"{value}{('', 'Ki', 'Mi', 'Gi', 'Ti')[place]}"
