"""Byte sequences that occur more than once, by a suffix array: every window of a given width with an equal one.

Letters: N documents, B bytes in all of them. Document i is data[offsets[i]:offsets[i + 1]]; no window leaves its
document. Bytes are those of UTF-8, so none is 0xFF.

`repeats` goes three ways. A sieve first: the windows of half the width are hashed and a sample of them, by their hash,
is counted in a table of two bits a slot. A repeat of `width` bytes has only such sampled windows that share their slot
with another one; so a byte that is not in a long run without one that is alone takes no part in the rest. What remains,
mostly little, is sorted by SA-IS (Nong, Zhang and Chan, "Two efficient algorithms for linear time suffix array
construction", IEEE Trans. Computers 60, 2011), then the longest common prefixes of neighbours are found in text order
(Kasai et al., CPM 2001; the permuted form of Kärkkäinen, Manzini and Puglisi, CPM 2009). Neighbours with `width` bytes
in common form a run: all the places of one window.

Time is linear. Memory beside the text: at most 12 bytes a byte that the sieve leaves (4 of the suffix array, 4 of the
prefixes or of SA-IS' own, the rest copies and marks), and 1.3 a byte of all; before that 12 a sample, which is one byte
in 8 for a width of 200.
"""

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, mix64, read_only

MAX_BYTES = 2**31 - 2
"""Places are 32-bit numbers."""

_NONE, _WHOLE, _GOES = 0, 1, 2
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_HIGH = np.uint64(24)
"""Slots are told by bits above those that choose the sample."""
_U1, _U2, _U3 = np.uint64(1), np.uint64(2), np.uint64(3)


def repeats(data: np.ndarray, offsets: np.ndarray, width: int, *, first_stays: bool) -> np.ndarray:
    """Return bool [B], true where a window of `width` bytes begins that is to go.

    Documents come best first. With `first_stays` a window goes if an equal one begins at least `width` bytes before
    it, in its own or an earlier document: of a repeat the first occurrence stays, and of a text of one period its first
    `width` bytes. Without, a window goes if an equal one begins at least `width` bytes before or behind it.

    data uint8 [B] is valid UTF-8, offsets int64 [N + 1], width >= 2.

    Raises:
        ValueError: the offsets fall or leave the data, or the documents have more than 2 GiB.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    data = read_only(np.ascontiguousarray(data))
    if offsets[-1] - offsets[0] > MAX_BYTES:
        raise ValueError(f"{offsets[-1] - offsets[0]:,} bytes are too many to be sorted at once; at most {MAX_BYTES:,}")
    marked_B = candidates(data, offsets, width)
    pieces_S2 = np.empty((len(data) // (width + 1) + len(offsets), 2), np.int64)
    count = _pieces(marked_B, offsets, pieces_S2)
    if count:
        text, states = _taken(data, pieces_S2[:count], width)
        suffixes, common = suffix_array(text), np.empty(len(text), np.int32)
        _common_prefixes(text, suffixes, common)
        _mark_runs(suffixes, common, width, first_stays, states)
        marked_B[:] = False
        _put_back(states, pieces_S2[:count], marked_B)
    return marked_B


def candidates(data: np.ndarray, offsets: np.ndarray, width: int) -> np.ndarray:
    """Return bool [B], true for every byte of a window of `width` bytes that may have an equal one.

    What has an equal one is always among them; what has none is there by chance, if at all.
    """
    half = width // 2
    least = width - half + 1
    # Some 8 to 16 windows of a run are looked up: by chance none of them is alone once in 100,000 runs.
    places_S, hashes_S = _samples(data, offsets, half, max(1, (least // 8).bit_length() - 1))
    slots, alone_S = np.zeros(1 << max(8, len(places_S).bit_length()), np.uint8), np.empty(len(places_S), np.bool_)
    _find_alone(hashes_S, slots, alone_S)
    marked_B = np.zeros(len(data), np.bool_)
    _mark_between(offsets, places_S, alone_S, half, least, marked_B)
    return marked_B


def suffix_array(text: np.ndarray) -> np.ndarray:
    """Return int32 [B], where the suffixes of a byte string begin, in their order; a prefix comes before the longer.

    text uint8 [B] without the byte 255. Memory: 6 bytes a byte, the result among them.
    """
    if not len(text):
        return np.empty(0, np.int32)
    shifted = np.zeros(len(text) + 1, np.uint8)
    np.add(text, 1, out=shifted[:-1])
    places = np.empty(len(shifted), np.int32)
    _sorted_suffixes(shifted, places, 256)
    return places[1:]


def _sorted_suffixes(text: np.ndarray, places: np.ndarray, letters: int) -> None:
    """Sort the suffixes of a text that ends in its one and smallest letter 0, into `places`: SA-IS."""
    kinds = np.empty(len(text), np.bool_)
    _classify(text, kinds)
    count, names = _name_substrings(text, kinds, places, letters)
    reduced = places[len(places) - count :]
    if names < count:
        _sorted_suffixes(reduced, places[:count], names)
    else:
        places[reduced] = np.arange(count, dtype=np.int32)
    _induce_from_sorted(text, kinds, places, letters, count)


@njit(cache=True, nogil=True)
def _samples(data, offsets, half, rare):
    """Return (places uint32 [S], hashes uint64 [S]) of one in 2^rare windows of `half` bytes, chosen by hash, in order.

    Places are counted from the first document. The hash is a polynomial modulo 2^64, then mixed.
    """
    width, power = np.uint64(half), _U1
    for _ in range(half - 1):
        power *= _FACTOR
    unsampled = (_U1 << np.uint64(rare)) - _U1
    places = np.empty(5 * (offsets[-1] - offsets[0]) // (4 << rare) + 64, np.uint32)
    hashes = np.empty(len(places), np.uint64)
    count, base = 0, np.uint64(offsets[0])
    for document in range(len(offsets) - 1):
        # Unsigned places: numba would ask of every signed one whether it counts from the end.
        i, stop, rolling = np.uint64(offsets[document]), np.uint64(offsets[document + 1]), np.uint64(0)
        if i + width > stop:
            continue
        full = i + width - _U1
        while i < full:
            rolling = rolling * _FACTOR + np.uint64(data[i]) + _U1
            i += _U1
        while i < stop:
            rolling = rolling * _FACTOR + np.uint64(data[i]) + _U1
            mixed = mix64(rolling)
            i += _U1
            begin = i - width
            if not mixed & unsampled:
                if count == len(places):
                    places, hashes = _twice(places), _twice(hashes)
                places[count], hashes[count] = begin - base, mixed
                count += 1
            rolling -= power * (np.uint64(data[begin]) + _U1)
    return places[:count], hashes[:count]


@njit(cache=True, nogil=True)
def _twice(array):
    """Return a copy with room for as much again."""
    larger = np.empty(2 * len(array), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def _find_alone(hashes, slots, alone):
    """Set alone[s] if no other sample has the slot of sample s; slots are two bits, which say none, one or more."""
    mask = np.uint64(4 * len(slots) - 1)
    for hashed in hashes:
        slot = (hashed >> _HIGH) & mask
        shift = (slot & _U3) * _U2
        count = (np.uint64(slots[slot >> _U2]) >> shift) & _U3
        slots[slot >> _U2] |= np.uint8((((count << _U1) | _U1) & _U3) << shift)
    for s in range(len(hashes)):
        slot = (hashes[s] >> _HIGH) & mask
        alone[s] = not (np.uint64(slots[slot >> _U2]) >> ((slot & _U3) * _U2)) & _U2


@njit(cache=True, nogil=True)
def _mark_between(offsets, places, alone, half, least, marked):
    """Mark the bytes of at least `least` windows of `half` bytes in a row of which none is alone."""
    s = 0
    for document in range(len(offsets) - 1):
        begun, last = offsets[document], offsets[document + 1] - half
        while begun <= last:
            while s < len(places) and (not alone[s] or offsets[0] + np.int64(places[s]) < begun):
                if offsets[0] + np.int64(places[s]) > last:
                    break
                s += 1
            end = last + 1
            if s < len(places):
                end = min(end, offsets[0] + np.int64(places[s]))
            if end - begun >= least:
                marked[begun : end + half - 1] = True
            begun = end + 1


@njit(cache=True, nogil=True)
def _classify(text, kinds):
    """Tell of every suffix whether it is smaller than the next one (type S)."""
    last = len(text) - 1
    kinds[last] = True
    for i in range(last - 1, -1, -1):
        kinds[i] = text[i] < text[i + 1] or (text[i] == text[i + 1] and kinds[i + 1])


@njit(cache=True, nogil=True)
def _is_left_most(kinds, i):
    """Tell whether a suffix of type S follows one of type L here."""
    return i > 0 and kinds[i] and not kinds[i - 1]


@njit(cache=True, nogil=True)
def _buckets(text, at):
    """Set at[c] to where the bucket of letter c begins, so at[c + 1] to where it ends."""
    at[:] = 0
    for letter in text:
        at[np.int64(letter) + 1] += 1
    for letter in range(1, len(at)):
        at[letter] += at[letter - 1]


@njit(cache=True, nogil=True)
def _induce(text, kinds, places, at):
    """Sort the suffixes of type L from those of type S in their buckets, then those of type S from them."""
    _buckets(text, at)
    for i in range(len(places)):
        j = np.int64(places[i]) - 1
        if j >= 0 and not kinds[j]:
            letter = np.int64(text[j])
            places[at[letter]] = j
            at[letter] += 1
    _buckets(text, at)
    for i in range(len(places) - 1, -1, -1):
        j = np.int64(places[i]) - 1
        if j >= 0 and kinds[j]:
            letter = np.int64(text[j]) + 1
            at[letter] -= 1
            places[at[letter]] = j


@njit(cache=True, nogil=True)
def _equal_substrings(text, kinds, a, b):
    """Tell whether the substrings from two left-most places to the next ones are equal, in letters and types."""
    d = 0
    while text[a + d] == text[b + d] and kinds[a + d] == kinds[b + d]:
        if d > 0 and (_is_left_most(kinds, a + d) or _is_left_most(kinds, b + d)):
            return True
        d += 1
    return False


@njit(cache=True, nogil=True)
def _put_last(text, places, at, here):
    """Put a suffix in front of those that are already at the end of its bucket."""
    letter = np.int64(text[here]) + 1
    at[letter] -= 1
    places[at[letter]] = here


@njit(cache=True, nogil=True)
def _name_substrings(text, kinds, places, letters):
    """Return how many left-most substrings there are and how many distinct; their names, in text order, come last."""
    at = np.empty(letters + 1, np.int32)
    _buckets(text, at)
    places[:] = -1
    for i in range(1, len(text)):
        if _is_left_most(kinds, i):
            _put_last(text, places, at, i)
    _induce(text, kinds, places, at)
    count = 0
    for i in range(len(places)):
        if _is_left_most(kinds, places[i]):
            places[count] = places[i]
            count += 1
    places[count:] = -1
    names, before = 0, np.int64(-1)
    for i in range(count):
        # Two left-most places are never neighbours, so their halves are places of their own.
        here = np.int64(places[i])
        if before < 0 or not _equal_substrings(text, kinds, before, here):
            names += 1
        before = here
        places[count + here // 2] = names - 1
    end = len(places) - 1
    for i in range(len(places) - 1, count - 1, -1):
        if places[i] >= 0:
            places[end] = places[i]
            end -= 1
    return count, names


@njit(cache=True, nogil=True)
def _induce_from_sorted(text, kinds, places, letters, count):
    """Sort all suffixes from the left-most ones, whose order is given by the first `count` places."""
    left_most = places[len(places) - count :]
    j = 0
    for i in range(1, len(text)):
        if _is_left_most(kinds, i):
            left_most[j] = i
            j += 1
    for i in range(count):
        places[i] = left_most[places[i]]
    places[count:] = -1
    at = np.empty(letters + 1, np.int32)
    _buckets(text, at)
    for i in range(count - 1, -1, -1):
        here = places[i]
        places[i] = -1
        _put_last(text, places, at, here)
    _induce(text, kinds, places, at)


@njit(cache=True, nogil=True)
def _common_prefixes(text, suffixes, common):
    """Set common[i] to the length of what the suffix at i shares with the one sorted before it."""
    neighbours = common  # a place's neighbour is read right before its length is written there
    neighbours[suffixes[0]] = -1
    for r in range(1, len(suffixes)):
        neighbours[suffixes[r]] = suffixes[r - 1]
    length = 0
    for i in range(len(text)):
        other = np.int64(neighbours[i])
        if other < 0:
            length = 0
        else:
            most = len(text) - max(i, other)
            while length < most and text[i + length] == text[other + length]:
                length += 1
        common[i] = length
        length = max(length - 1, 0)


@njit(cache=True, nogil=True)
def _pieces(marked, offsets, pieces):
    """Find the runs of marked bytes within documents; return how many there are."""
    count = 0
    for document in range(len(offsets) - 1):
        inside = False
        for i in range(offsets[document], offsets[document + 1]):
            if marked[i] and not inside:
                pieces[count, 0] = i
                count += 1
            if marked[i]:
                pieces[count - 1, 1] = i + 1
            inside = marked[i]
    return count


@njit(cache=True, nogil=True)
def _taken(data, pieces, width):
    """Return the pieces as one text, and of each byte whether a window may begin there: `_WHOLE` or `_NONE`.

    Windows of different pieces do not overlap, so distances may be measured in this text.
    """
    total = 0
    for piece in range(len(pieces)):
        total += pieces[piece, 1] - pieces[piece, 0]
    text, states = np.empty(total, np.uint8), np.zeros(total, np.uint8)
    t = 0
    for piece in range(len(pieces)):
        for i in range(pieces[piece, 0], pieces[piece, 1]):
            text[t] = data[i]
            states[t] = _WHOLE if i + width <= pieces[piece, 1] else _NONE
            t += 1
    return text, states


@njit(cache=True, nogil=True)
def _mark_runs(suffixes, common, width, first_stays, states):
    """Mark the windows that are to go, run by run of suffixes that begin with the same window."""
    begin = 0
    while begin < len(suffixes):
        end = begin + 1
        while end < len(suffixes) and common[suffixes[end]] >= width:
            end += 1
        first, last = len(suffixes), np.int64(-1)
        for i in range(begin, end if end > begin + 1 else begin):
            here = np.int64(suffixes[i])
            if states[here] != _NONE:
                first, last = min(first, here), max(last, here)
        for i in range(begin, end if last > first else begin):
            here = np.int64(suffixes[i])
            far = here - first >= width or (last - here >= width and not first_stays)
            if states[here] != _NONE and far:
                states[here] = _GOES
        begin = end


@njit(cache=True, nogil=True)
def _put_back(states, pieces, marked):
    t = 0
    for piece in range(len(pieces)):
        for i in range(pieces[piece, 0], pieces[piece, 1]):
            marked[i] = states[t] == _GOES
            t += 1
