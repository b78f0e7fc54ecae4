"""The documents of packed sequences as one stream of tokens, without padding.

Documents come in the order of their first pieces, part after part. All pieces of one use of a document lie in one part
(`pack` sends uses, not pieces, to windows), so a document that was cut to fit the rows is whole again here. It ends in
EOS; only one that the token budget cut short does not (at most a few a domain).
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from pipeline.errors import DataError
from pipeline.ledger import Tally
from pipeline.tokens.exports.parts import BLOCK_TOKENS
from pipeline.tokens.format import PADDING, Packed, Part, begins


class Order(NamedTuple):
    """In which order the pieces of a part make its documents. P pieces, D documents.

    place: [P] int64, where a piece begins in the part's rows laid end to end.
    length: [P] int64, its tokens.
    ends: [D] int64, where documents end in the stream of the part.
    """

    place: np.ndarray
    length: np.ndarray
    ends: np.ndarray


def order(offsets: np.ndarray, segments: np.ndarray, sequence_length: int) -> Order:
    """Return the order of the pieces of a part.

    Equal documents may lie in one part; their pieces are dealt out so that each is whole. A piece whose predecessor is
    not there is a document of its own.

    Args:
        offsets: [n + 1] int64 into the segments, by row.
        segments: [S] SEGMENT.
    """
    place, length = _pieces(offsets, segments, sequence_length)
    kept = np.flatnonzero(segments["domain"] != PADDING)
    place, length, segments = place[kept], length[kept], segments[kept]
    use = _first_of_document(segments)
    start = segments["start"].astype(np.int64)
    head = _heads(use, start, start + length)
    line = np.lexsort((start, head, use))
    ends = np.cumsum(length[line])
    last = np.ones(len(line), bool)
    last[:-1] = ~_equal_to_last(head[line])[1:]
    return Order(place[line], length[line], ends[last])


def _pieces(offsets: np.ndarray, segments: np.ndarray, sequence_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (place, length) of every segment; see Order."""
    begin = begins(offsets, segments)
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return row * sequence_length + begin, segments["end"] - begin


def _first_of_document(segments: np.ndarray) -> np.ndarray:
    """Return [P] int64, the first piece of the same use of a document."""
    ids = segments["doc_id"].reshape(len(segments), 2)
    line = np.lexsort((ids[:, 1], ids[:, 0], segments["epoch"]))
    same = _equal_to_last(ids[line, 0]) & _equal_to_last(ids[line, 1]) & _equal_to_last(segments["epoch"][line])
    heads = np.flatnonzero(~same)
    first = np.empty(len(line), np.int64)
    # lexsort is stable: the first of a run is the first of all.
    first[line] = np.repeat(line[heads], np.diff(np.append(heads, len(line))))
    return first


def _heads(use: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return [P] int64, the piece that begins the document of each piece.

    A piece follows one of the same use that ends where it starts. Equal documents may be cut in different places; where
    several end and start in one place, the first follows the first, which is as good as any: they read the same.
    """
    of, at = np.tile(use, 2), np.concatenate([end, start])
    number = np.concatenate([_number_among_equals(use, end), _number_among_equals(use, start)])
    # Sorts are stable: of two with one key the end, which is the earlier, comes first.
    line = np.lexsort((number, at, of))
    follows = _equal_to_last(of[line]) & _equal_to_last(at[line]) & _equal_to_last(number[line])
    behind = np.flatnonzero(follows)
    head = np.arange(len(use))
    head[line[behind] - len(use)] = line[behind - 1]
    while (head[head] != head).any():  # each round looks twice as far back
        head = head[head]
    return head


def _number_among_equals(use: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return [P] int64, 0, 1, ... among the pieces of one use that are at the same place."""
    line = np.lexsort((at, use))
    heads = np.flatnonzero(~(_equal_to_last(use[line]) & _equal_to_last(at[line])))
    number = np.empty(len(line), np.int64)
    number[line] = np.arange(len(line)) - np.repeat(heads, np.diff(np.append(heads, len(line))))
    return number


def _equal_to_last(values: np.ndarray) -> np.ndarray:
    same = np.zeros(len(values), bool)
    same[1:] = values[1:] == values[:-1]
    return same


def write(file: BinaryIO, part: Part) -> np.ndarray:
    """Append the tokens of a part's documents, in its dtype; return [D] int64, where the documents end in them."""
    rows, offsets, segments = part.open()
    found = order(offsets, segments, rows.shape[1])
    for block in _tokens(rows.reshape(-1), found):
        file.write(block.data)
    return found.ends


def counted(ends: np.ndarray) -> Tally:
    """Return the documents and tokens of a stream, for the sum of all."""
    return {"documents": len(ends), "tokens": int(ends[-1]) if len(ends) else 0}


def checked(made: Tally, packed: Packed) -> Tally:
    """Return what was written in all.

    Raises:
        DataError: it is not as many tokens as the sequences hold.
    """
    tokens = made.get("tokens", 0)
    if tokens != packed.tokens:
        raise DataError(
            f"{packed.root}: its documents have {tokens:,} tokens, its manifest says {packed.tokens:,}. This is a "
            "defect: please report it"
        )
    return {"documents": made.get("documents", 0), "tokens": tokens}


def _tokens(flat: np.ndarray, found: Order) -> Iterator[np.ndarray]:
    """Yield tokens in blocks of some BLOCK_TOKENS; a piece is never longer than a row."""
    ends = np.cumsum(found.length)
    at = 0
    while at < len(ends):
        done = int(ends[at] - found.length[at])
        to = max(at + 1, int(np.searchsorted(ends, done + BLOCK_TOKENS, "right")))
        length, place = found.length[at:to], found.place[at:to]
        shift = np.repeat(place - (ends[at:to] - length - done), length)
        yield flat[np.arange(len(shift)) + shift]
        at = to
