"""The fewest tokens of a vocabulary that a text can be cut into.

Letters: P pieces, B bytes in all of them, V tokens, T tokens that come out, S slots of the trie.
Piece p is data[ends[p]:ends[p + 1]], and is cut by itself.

A piece of n bytes is cut by dynamic programming from its end (Schmidt et al. 2024, "Tokenization Is More Than
Compression", section 3: PathPiece): fewest[i] = 1 + the least of fewest[i + length] over the tokens that begin at i.
Where several cuts are equally short, the one whose first token is the longest is taken, then whose second is, and so
on.

The tokens lie in a trie whose edges are in one hash table: (node << 8 | byte) + 1 -> next node, with linear probing.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.hashing import check_offsets, mix64, read_only


class Trie(NamedTuple):
    """A vocabulary to cut with."""

    keys_S: np.ndarray
    """uint64, 0 where a slot is free."""
    nodes_S: np.ndarray
    """int32, the node that an edge leads to."""
    tokens: np.ndarray
    """int32 by node, the token that ends there; -1 where none does."""


def trie(data: np.ndarray, offsets: np.ndarray, ids_V: np.ndarray) -> Trie:
    """Return the trie of tokens data[offsets[v]:offsets[v + 1]] with ids ids_V; an empty token is in no cut.

    Raises:
        ValueError: the offsets fall or leave the data, or one of the 256 bytes is no token, so that some text could not
            be cut.
    """
    offsets = np.ascontiguousarray(offsets, np.int64)
    check_offsets(data, offsets)
    single = np.unique(data[offsets[:-1][np.diff(offsets) == 1]])
    if len(single) < 256:
        missing = np.setdiff1d(np.arange(256), single)[0]
        raise ValueError(f"byte {missing} is no token of the vocabulary, so a text that holds it cannot be cut")
    edges = int(offsets[-1] - offsets[0])
    slots = 1 << int(2 * edges).bit_length()
    made = Trie(np.zeros(slots, np.uint64), np.zeros(slots, np.int32), np.full(edges + 1, -1, np.int32))
    _plant(read_only(np.ascontiguousarray(data)), offsets, np.array(ids_V, np.int32), *made)
    return made


def cut(data: np.ndarray, ends: np.ndarray, made: Trie) -> tuple[np.ndarray, np.ndarray]:
    """Return (ids uint32 [T], counts int64 [P]): the tokens of all pieces, and how many each has.

    data uint8 [B]; ends int64 [P + 1]. An empty piece has none.

    Raises:
        ValueError: the ends fall or leave the data.
    """
    ends = np.ascontiguousarray(ends, np.int64)
    check_offsets(data, ends)
    ids, counts = np.empty(int(ends[-1] - ends[0]), np.uint32), np.zeros(len(ends) - 1, np.int64)
    longest = int(np.diff(ends).max(initial=0))
    size = _cut(read_only(np.ascontiguousarray(data)), ends, *made, np.empty((longest + 1, 3), np.int64), ids, counts)
    return ids[:size].copy(), counts


@njit(cache=True, nogil=True)
def _slot(keys, node, byte):
    """Return (the slot of an edge, or the free one where it would be, and its key)."""
    key = (np.uint64(node) << np.uint64(8) | np.uint64(byte)) + np.uint64(1)
    last = np.uint64(len(keys) - 1)
    slot = mix64(key) & last
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + np.uint64(1)) & last
    return slot, key


@njit(cache=True, nogil=True)
def _plant(data, offsets, ids, keys, nodes, tokens):
    size = 1
    for v in range(len(ids)):
        node = 0
        for at in range(offsets[v], offsets[v + 1]):
            slot, key = _slot(keys, node, data[at])
            if keys[slot] == 0:
                keys[slot], nodes[slot] = key, size
                size += 1
            node = nodes[slot]
        if node:
            tokens[node] = ids[v]


@njit(cache=True, nogil=True)
def _cut(data, ends, keys, nodes, tokens, best, ids, counts):
    """Fill ids and counts; return how many ids there are. best: by byte of a piece, (fewest, next byte, token)."""
    size = 0
    for piece in range(len(counts)):
        start, length = ends[piece], ends[piece + 1] - ends[piece]
        best[length, 0] = 0
        for i in range(length - 1, -1, -1):
            best[i, 0] = length + 1
            node = 0
            for j in range(i, length):
                slot, _ = _slot(keys, node, data[start + j])
                if keys[slot] == 0:
                    break
                node = nodes[slot]
                # Of equals the later is the longer.
                if tokens[node] >= 0 and best[j + 1, 0] < best[i, 0]:
                    best[i, 0], best[i, 1], best[i, 2] = best[j + 1, 0] + 1, j + 1, tokens[node]
        i = 0
        while i < length:
            ids[size] = best[i, 2]
            size += 1
            i = best[i, 1]
        counts[piece] = best[0, 0]
    return size
