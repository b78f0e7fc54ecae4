"""Slow and obvious twin of `identifiers`: regular expressions over strings.

The expressions of e-mail and IP addresses are those of datatrove's PIIFormatter (Apache-2.0), which says what is meant.
"""

import ipaddress
import re

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
EMAIL = re.compile(
    rf"\b{_ATOM}(?:\.{_ATOM})*@(?:(?:{_LABEL}\.)+{_LABEL}"
    rf"|\[(?:{_OCTET}\.){{3}}(?:{_OCTET}|[A-Za-z0-9-]*[A-Za-z0-9]:)\])"
)
IP = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_JOINT = r"[ .-]"
INTERNATIONAL = re.compile(
    rf"\+[1-9][0-9]*(?:{_JOINT}?\([0-9]{{1,5}}\){_JOINT}?[0-9]+(?![0-9])|{_JOINT}[0-9]+(?![0-9]))?"
    rf"(?:{_JOINT}[0-9]{{2,}})*"
)
AMERICAN = re.compile(
    rf"(?:1{_JOINT})?(?:\([2-9][0-9]{{2}}\) ?[2-9][0-9]{{2}}{_JOINT}|[2-9][0-9]{{2}}(?P<j>[.-])[2-9][0-9]{{2}}(?P=j))"
    r"[0-9]{4}"
)
BEFORE = re.compile(r"[A-Za-z0-9_.+/=&#%-]")
BEHIND = re.compile(r"[A-Za-z0-9_]|[./-][0-9]")


def find(text: str, kinds: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Return (start, end, kind), in characters."""
    found: list[tuple[int, int, str]] = []
    if "email" in kinds:
        found += [(*match.span(), "email") for match in EMAIL.finditer(text)]
    for kind, seek in (("ip", addresses), ("phone", numbers)):
        if kind in kinds:
            found = sorted(found)
            starts, ends = [s for s, _, _ in found], [e for _, e, _ in found]
            for start, end in zip([0, *ends], [*starts, len(text)], strict=True):
                found += [(a, b, kind) for a, b in seek(text, start, end)]
    return sorted(found)


def addresses(text: str, start: int, end: int) -> list[tuple[int, int]]:
    found = [(start + m.start(), start + m.end(), m.group()) for m in IP.finditer(text[start:end])]
    return [(a, b) for a, b, name in found if is_global(name)]


def is_global(name: str) -> bool:
    try:
        address = ipaddress.IPv4Address(name)
    except ValueError:
        return False
    if address in ipaddress.ip_network("192.0.0.0/24"):  # Pythons before 3.11.10 know an eighth of it only
        return address.packed[3] in (9, 10)
    return address.is_global


def numbers(text: str, start: int, end: int) -> list[tuple[int, int]]:
    found, at = [], start
    while at < end:
        match = (INTERNATIONAL if text[at] == "+" else AMERICAN).match(text[:end], at)
        before, behind = at and BEFORE.match(text[at - 1]), match and BEHIND.match(text, match.end())
        if match and not before and not behind and (text[at] != "+" or dialled(match.group())):
            found.append(match.span())
            at = match.end()
        else:
            at += 1
    return found


def dialled(text: str) -> bool:
    digits = re.sub(r"[^0-9]", "", text)
    if digits[0] == "1":
        return bool(re.fullmatch(r"1[2-9]..[2-9]......", digits))
    return (8 if len(digits) < len(text) - 1 else 10) <= len(digits) <= 15
