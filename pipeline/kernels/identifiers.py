"""Where texts name a person's reach: e-mail addresses, public IPv4 addresses, telephone numbers.

Letters: N documents, B bytes in all of them, S spans. Document i is data[offsets[i]:offsets[i + 1]]; its spans are
spans[ends[i]:ends[i + 1]], each (start, end) from the document's first byte, sorted and disjoint, between characters.

    email   what datatrove's PIIFormatter (FineWeb) replaces: dot-separated atoms of RFC 5322 that begin at a word
            boundary, `@`, at least two host labels or an address in brackets
    ip      what it replaces by default: four octets of at most 255 with dots between them, wherever they stand, that
            are a global address. Not global is what the IANA special-purpose registry says (RFC 6890, as Python's
            `ipaddress` reads it: multicast is global), and an octet with a leading zero
    phone   ours, made to leave dates, versions, ISBNs and plain numbers alone:
            international  `+`, 8 to 15 digits that begin with 1 to 9 (E.164), in groups with one of `space . -` between
                           them, the second in parentheses or not; from the third on a group has two digits or more;
                           without a separator at least 10; +1 only with ten digits that the North American plan allows
            North America  NXX-NXX-XXXX or NXX.NXX.XXXX or (NXX) NXX-XXXX with `space . -` before the last four, N from
                           2 to 9, `1` and a separator before it or not
            Before it stands no ASCII letter or digit and none of `_ . + / = & # % -`, behind it no ASCII letter, digit
            or `_`, and no `. - /` with a digit behind. Numbers in groups by spaces alone, extensions and other national
            forms are not seen.

Where two kinds overlap the earlier one in `KINDS` wins; the twin in the tests says all this in regular expressions.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

from pipeline.kernels import unicode_table
from pipeline.kernels.hashing import check_offsets, read_only

KINDS = ("email", "ip", "phone")
_EMAIL, _IP, _PHONE = range(3)

_DIGIT, _LETTER, _ATOM, _BEFORE = 1, 2, 4, 8
_DIGITS, _LETTERS = b"0123456789", b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CLASSES = np.zeros(256, np.uint8)
_CLASSES[list(_DIGITS)] |= _DIGIT
_CLASSES[list(_LETTERS)] |= _LETTER
_CLASSES[list(_DIGITS + _LETTERS + b"!#$%&'*+/=?^_`{|}~-")] |= _ATOM
_CLASSES[list(_DIGITS + _LETTERS + b"_.+/=&#%-")] |= _BEFORE
_AT, _DOT, _DASH, _PLUS, _SPACE, _LINE, _COLON = (ord(c) for c in "@.-+ _:")
_OPEN, _CLOSE, _LEFT, _RIGHT, _SLASH = (ord(c) for c in "()[]/")
_ZERO, _ONE, _TWO = (ord(c) for c in "012")
_LENGTH_AT = np.uint64(unicode_table.LENGTH_AT)
_SHORTEST = 5
_FEWEST, _FEWEST_IN_ONE, _MOST, _NORTH_AMERICAN = 8, 10, 15, 11

# First and last addresses of the ranges that are not global, as hexadecimal digits: this network; private; shared by
# carriers; loopback; link-local; private; protocol assignments but for two; documentation; private; benchmarks; twice
# documentation; reserved and broadcast.
_LOCAL_RANGES = """
00000000-00FFFFFF 0A000000-0AFFFFFF 64400000-647FFFFF 7F000000-7FFFFFFF A9FE0000-A9FEFFFF AC100000-AC1FFFFF
C0000000-C0000008 C000000B-C00000FF C0000200-C00002FF C0A80000-C0A8FFFF C6120000-C613FFFF C6336400-C63364FF
CB007100-CB0071FF F0000000-FFFFFFFF
"""
_LOCAL = np.array([[int(end, 16) for end in line.split("-")] for line in _LOCAL_RANGES.split()], np.int64)


def find(
    data: np.ndarray, offsets: np.ndarray, keep_N: np.ndarray, kinds: Sequence[str] = KINDS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (spans int64 [S, 2], kinds uint8 [S], ends int64 [N + 1]) of the documents to keep; the others have none.

    A span's kind is its place in `KINDS`. data uint8 [B] is valid UTF-8, offsets int64 [N + 1], keep bool [N].

    Raises:
        ValueError: the offsets fall or leave the data, or there is no such kind.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"kinds must be among {', '.join(KINDS)}; got {sorted(unknown)[0]!r}")
    wanted = np.array([kind in kinds for kind in KINDS])
    # The system gives memory to what is written only, so the room for the worst text costs nothing.
    most = int(offsets[-1] - offsets[0]) // _SHORTEST + 1
    spans_S2, kinds_S, ends = np.empty((most, 2), np.int64), np.empty(most, np.uint8), np.zeros(len(offsets), np.int64)
    text, table = read_only(np.ascontiguousarray(data)), unicode_table.table()
    total = _find_all(text, offsets, np.ascontiguousarray(keep_N), wanted, table, spans_S2, kinds_S, ends)
    return spans_S2[:total].copy(), kinds_S[:total].copy(), ends


@njit(cache=True, nogil=True)
def _find_all(data, offsets, keep, wanted, table, spans, kinds, ends):
    s = 0
    for document in range(len(offsets) - 1):
        base, stop, first = offsets[document], offsets[document + 1], s
        if keep[document]:
            if wanted[_EMAIL]:
                s = _emails(data, base, stop, table, spans, kinds, s)
            # The later kinds are sought between the spans of the earlier ones, which are sorted in.
            for kind in (_IP, _PHONE):
                if wanted[kind]:
                    found, at = s, base
                    for k in range(first, found + 1):
                        end = spans[k, 0] if k < found else stop
                        if kind == _IP:
                            s = _addresses(data, at, end, spans, kinds, s)
                        else:
                            s = _numbers(data, base, at, end, stop, spans, kinds, s)
                        at = spans[k, 1] if k < found else stop
                    _sort(spans, kinds, first, found, s)
            for k in range(first, s):
                spans[k, 0] -= base
                spans[k, 1] -= base
        ends[document + 1] = s
    return s


@njit(cache=True, nogil=True)
def _sort(spans, kinds, first, found, s):
    """Sort spans found later in among the sorted ones before them: few, so by insertion."""
    for k in range(found, s):
        start, end, kind, j = spans[k, 0], spans[k, 1], kinds[k], k
        while j > first and spans[j - 1, 0] > start:
            spans[j, 0], spans[j, 1], kinds[j] = spans[j - 1, 0], spans[j - 1, 1], kinds[j - 1]
            j -= 1
        spans[j, 0], spans[j, 1], kinds[j] = start, end, kind


@njit(cache=True, nogil=True)
def _is(data, at, stop, kinds):
    """Tell whether there is a byte of one of these classes."""
    return at < stop and _CLASSES[data[at]] & kinds != 0


@njit(cache=True, nogil=True)
def _emails(data, base, stop, table, spans, kinds, s):
    free = base
    for at in range(base, stop):
        if data[at] == _AT and at > free and _CLASSES[data[at - 1]] & _ATOM:
            end = _host_end(data, at + 1, stop)
            if end > 0:
                start = _local_start(data, base, free, at, table)
                if start < at:
                    spans[s, 0], spans[s, 1], kinds[s] = start, end, _EMAIL
                    s += 1
                    free = end
    return s


@njit(cache=True, nogil=True)
def _local_start(data, base, free, at, table):
    """Return the first place at a word's edge from which atoms lead to the `@`; `at` if there is none."""
    start = at
    while start > free and (_CLASSES[data[start - 1]] & _ATOM or (data[start - 1] == _DOT and data[start] != _DOT)):
        start -= 1
    while start < at:
        if data[start] != _DOT:
            word = _CLASSES[data[start]] & (_DIGIT | _LETTER) != 0 or data[start] == _LINE
            if word != _word_before(data, base, start, table):
                return start
        start += 1
    return at


@njit(cache=True, nogil=True)
def _word_before(data, base, at, table):
    """Tell whether the character before a byte is one of a word."""
    if at == base:
        return False
    byte = data[at - 1]
    if byte < 0x80:
        return _CLASSES[byte] & (_DIGIT | _LETTER) != 0 or byte == _LINE
    code, shift, k = np.int64(0), 0, at - 1
    while k > base and data[k] & 0xC0 == 0x80:
        code |= np.int64(data[k] & 0x3F) << shift
        shift += 6
        k -= 1
    code |= np.int64(data[k] & (0x3F >> shift // 6)) << shift
    entry = table[min(code, len(table) - 1)]
    # A word of its own is written between spaces; a separator is a space alone.
    return entry & np.uint64(0xFF) != np.uint64(_SPACE) or (entry >> _LENGTH_AT) & np.uint64(7) > np.uint64(1)


@njit(cache=True, nogil=True)
def _host_end(data, at, stop):
    """Return where the host that begins at `at` ends; -1 if there is none."""
    if at < stop and data[at] == _LEFT:
        return _literal_end(data, at + 1, stop)
    labels = 0
    while True:
        if not _is(data, at, stop, _DIGIT | _LETTER):
            return -1
        end = at + 1
        while at < stop and (_CLASSES[data[at]] & (_DIGIT | _LETTER) or data[at] == _DASH):
            at += 1
            end = at if data[at - 1] != _DASH else end
        labels += 1
        if end == at and at < stop and data[at] == _DOT and _is(data, at + 1, stop, _DIGIT | _LETTER):
            at += 1
        else:
            return end if labels > 1 else -1


@njit(cache=True, nogil=True)
def _literal_end(data, at, stop):
    for _ in range(3):
        at = _octet_to_dot(data, at, stop)
        if at < 0:
            return -1
    end = at
    while _is(data, end, stop, _DIGIT):
        end += 1
    if _octet(data, at, end) >= 0 and end < stop and data[end] == _RIGHT:
        return end + 1
    end = at
    while end < stop and (_CLASSES[data[end]] & (_DIGIT | _LETTER) or data[end] == _DASH):
        end += 1
    tagged = end > at and data[end - 1] != _DASH and end + 1 < stop and data[end] == _COLON
    return end + 2 if tagged and data[end + 1] == _RIGHT else -1


@njit(cache=True, nogil=True)
def _octet(data, start, end):
    """Return the number of one to three digits; -1 if there is none or it is above 255."""
    if end - start < 1 or end - start > 3:
        return -1
    value = 0
    for k in range(start, end):
        if not _CLASSES[data[k]] & _DIGIT:
            return -1
        value = 10 * value + np.int64(data[k]) - _ZERO
    return value if value <= 255 else -1


@njit(cache=True, nogil=True)
def _octet_to_dot(data, at, stop):
    """Return the byte behind the octet at `at` and its dot; -1 if they are not there."""
    end = at
    while end < stop and end - at < 4 and data[end] != _DOT:
        end += 1
    return end + 1 if end < stop and data[end] == _DOT and _octet(data, at, end) >= 0 else -1


@njit(cache=True, nogil=True)
def _addresses(data, base, stop, spans, kinds, s):
    free, at = base, base
    while at < stop:
        if data[at] == _DOT and at > free and _CLASSES[data[at - 1]] & _DIGIT and _is(data, at + 1, stop, _DIGIT):
            for start in range(max(free, at - 3), at):
                end = _address_end(data, start, at, stop)
                if end > 0:
                    if _is_global(data, start, end):
                        spans[s, 0], spans[s, 1], kinds[s] = start, end, _IP
                        s += 1
                    free, at = end, end - 1
                    break
        at += 1
    return s


@njit(cache=True, nogil=True)
def _address_end(data, start, dot, stop):
    if _octet(data, start, dot) < 0:
        return -1
    at = dot + 1
    for _ in range(2):
        at = _octet_to_dot(data, at, stop)
        if at < 0:
            return -1
    if not _is(data, at, stop, _DIGIT):
        return -1
    end = at + 1
    while end < stop and end - at < 3 and _octet(data, at, end + 1) >= 0:
        end += 1
    return end


@njit(cache=True, nogil=True)
def _is_global(data, start, end):
    whole, octet, digits = np.int64(0), np.int64(0), 0
    for k in range(start, end + 1):
        if k < end and data[k] != _DOT:
            if digits > 0 and octet == 0:
                return False
            octet = 10 * octet + np.int64(data[k]) - _ZERO
            digits += 1
        else:
            whole, octet, digits = whole << 8 | octet, np.int64(0), 0
    local = False
    for k in range(len(_LOCAL)):
        local |= _LOCAL[k, 0] <= whole <= _LOCAL[k, 1]
    return not local


@njit(cache=True, nogil=True)
def _numbers(data, base, at, end, stop, spans, kinds, s):
    """Find telephone numbers in data[at:end]; what stands around it in the document is looked at."""
    while at < end:
        byte = data[at]
        if (byte in (_PLUS, _OPEN) or _CLASSES[byte] & _DIGIT) and (at == base or not _CLASSES[data[at - 1]] & _BEFORE):
            found = _international_end(data, at, end) if byte == _PLUS else _american_end(data, at, end)
            if found > 0 and _may_end(data, found, stop):
                spans[s, 0], spans[s, 1], kinds[s] = at, found, _PHONE
                s += 1
                at = found
                continue
        at += 1
    return s


@njit(cache=True, nogil=True)
def _may_end(data, at, stop):
    if at == stop:
        return True
    if _CLASSES[data[at]] & (_DIGIT | _LETTER) or data[at] == _LINE:
        return False
    return data[at] not in (_DOT, _DASH, _SLASH) or not _is(data, at + 1, stop, _DIGIT)


@njit(cache=True, nogil=True)
def _separates(data, at, stop):
    return at < stop and data[at] in (_SPACE, _DOT, _DASH)


@njit(cache=True, nogil=True)
def _digits(data, at, stop):
    """Return the first byte that is no digit."""
    while _is(data, at, stop, _DIGIT):
        at += 1
    return at


@njit(cache=True, nogil=True)
def _international_end(data, plus, stop):
    end = _digits(data, plus + 1, stop)
    if end == plus + 1 or data[plus + 1] == _ZERO:
        return -1
    count, groups = end - plus - 1, 1
    area = _area_end(data, end, stop)
    if area > 0:
        for k in range(end, area):
            count += 1 if _CLASSES[data[k]] & _DIGIT else 0
        end, groups = area, 3
    while _separates(data, end, stop):
        behind = _digits(data, end + 1, stop)
        if behind - end - 1 < (1 if groups == 1 else 2):
            break
        count, end, groups = count + behind - end - 1, behind, groups + 1
    if data[plus + 1] == _ONE:
        return end if count == _NORTH_AMERICAN and _is_planned(data, plus + 2, end) else -1
    return end if (_FEWEST if groups > 1 else _FEWEST_IN_ONE) <= count <= _MOST else -1


@njit(cache=True, nogil=True)
def _area_end(data, at, stop):
    """Return where a group in parentheses and the digits behind it end; -1 if there are none."""
    at += 1 if _separates(data, at, stop) else 0
    if at >= stop or data[at] != _OPEN:
        return -1
    close = _digits(data, at + 1, stop)
    if not 1 <= close - at - 1 <= 5 or close >= stop or data[close] != _CLOSE:
        return -1
    start = close + 2 if _separates(data, close + 1, stop) else close + 1
    end = _digits(data, start, stop)
    return end if end > start else -1


@njit(cache=True, nogil=True)
def _is_planned(data, at, end):
    """Tell whether the first and the fourth digit are from 2 to 9."""
    k = 0
    for i in range(at, end):
        if _CLASSES[data[i]] & _DIGIT:
            if (k == 0 or k == 3) and data[i] < _TWO:
                return False
            k += 1
    return True


@njit(cache=True, nogil=True)
def _three(data, at, stop):
    """Tell whether three digits of which the first is from 2 to 9 begin here."""
    return at + 3 <= stop and data[at] >= _TWO and _digits(data, at, at + 3) == at + 3


@njit(cache=True, nogil=True)
def _american_end(data, at, stop):
    if data[at] == _ONE and _separates(data, at + 1, stop):
        at += 2
        if at >= stop or not (data[at] == _OPEN or _CLASSES[data[at]] & _DIGIT):
            return -1
    joint = -1
    if data[at] == _OPEN:
        if not _three(data, at + 1, stop) or at + 4 >= stop or data[at + 4] != _CLOSE:
            return -1
        at += 6 if at + 5 < stop and data[at + 5] == _SPACE else 5
    else:
        if not _three(data, at, stop) or not _separates(data, at + 3, stop) or data[at + 3] == _SPACE:
            return -1
        joint = data[at + 3]
        at += 4
    if not _three(data, at, stop) or not _separates(data, at + 3, stop):
        return -1
    if joint >= 0 and data[at + 3] != joint:
        return -1
    return at + 8 if _digits(data, at + 4, min(at + 8, stop)) == at + 8 else -1
