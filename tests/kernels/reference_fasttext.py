"""The slow, obvious twin of the fastText kernels: strings of bytes, dictionaries and loops."""

import math
import struct
from collections import Counter

import numpy as np

SPACE = b" \t\n\v\f\r\0"
EOS = b"</s>"


def fnv(token: bytes) -> int:
    """Return fastText's hash: bytes above 127 are sign-extended before they are mixed in."""
    value = 2166136261
    for byte in token:
        signed = byte - 256 if byte > 127 else byte
        value = ((value ^ (signed & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return value


def tokens(text: bytes) -> list[bytes]:
    """Return the tokens up to the end of the document, which is `</s>`."""
    for space in SPACE:
        text = text.replace(bytes([space]), b" ")
    words = [word for word in text.split(b" ") if word]
    return [*words[: words.index(EOS)], EOS] if EOS in words else [*words, EOS]


def subwords(token: bytes, minn: int, maxn: int) -> list[bytes]:
    """Return the character n-grams of `<token>`; single characters at either end do not count."""
    points: list[bytes] = []
    for byte in b"<" + token + b">":
        if byte & 0xC0 == 0x80:
            points[-1] += bytes([byte])
        else:
            points.append(bytes([byte]))
    found = []
    for i in range(len(points)):
        for n in range(minn, maxn + 1):
            at_an_end = n == 1 and (i == 0 or i + n == len(points))
            if i + n <= len(points) and not at_an_end:
                found.append(b"".join(points[i : i + n]))
    return found


def features(text: bytes, model) -> list[int]:
    """Return the rows of the input matrix that fastText averages, in its order: words and their parts, then n-grams."""
    entries = {model.entry(number): number for number in range(len(model.entry_counts))}
    found, hashes = [], []

    def push(bucket: int) -> None:
        row = bucket if model.pruned_rows is None else int(model.pruned_rows[bucket])
        if row >= 0:
            found.append(model.n_words + row)

    for token in tokens(text):
        number = entries.get(token, -1)
        if number >= model.n_words or (number < 0 and token.startswith(b"__label__")):
            continue
        if number >= 0:
            found.append(number)
        if token != EOS and model.maxn > 0:
            for gram in subwords(token, model.minn, model.maxn):
                push(fnv(gram) % model.bucket)
        value = fnv(token)
        hashes.append(value - (1 << 32) if value >> 31 else value)
    for i in range(len(hashes)):
        value = hashes[i]
        for j in range(i + 1, min(i + model.word_ngrams, len(hashes))):
            value = (value * 116049371 + hashes[j]) % (1 << 64)
            push(value % model.bucket)
    return found


def probabilities(text: bytes, model) -> list[float]:
    """Return P of every label; NaN without features, and for labels that a tree does not list."""
    rows = features(text, model)
    if not rows:
        return [math.nan] * len(model.labels)
    if model.loss == "softmax":
        return _softmax(model.outputs_LD.astype(float) @ model.inputs_RD[rows].astype(float).mean(axis=0))
    hidden = average(model.inputs_RD[rows])
    if model.loss == "hierarchical softmax":
        found = tree_probabilities(huffman(model.entry_counts[model.n_words :].tolist()), hidden, model)
        return [found.get(label, math.nan) for label in range(len(model.labels))]
    return [stepped(single_product(vector, hidden)) + 1e-5 for vector in model.outputs_LD]


def average(rows: np.ndarray) -> np.ndarray:
    """Return the hidden vector: rows added one by one in float32."""
    return np.add.accumulate(rows, axis=0, dtype=np.float32)[-1] * np.float32(1 / len(rows))


def single_product(a: np.ndarray, b: np.ndarray) -> np.float32:
    """Return the product of two vectors, every product and every sum rounded to float32."""
    total = np.float32(0)
    for x, y in zip(a, b, strict=True):
        total = total + np.float32(x) * np.float32(y)
    return total


def stepped(x: np.float32) -> float:
    """Return the logistic function at the step of 1/32 below `x`; 0 and 1 beyond 8."""
    if abs(x) > 8:
        return float(x > 8)
    return 1 / (1 + math.exp(-(math.floor((x + np.float32(8)) * 32) / 32 - 8)))


def huffman(counts: list[int]):
    """Return the tree as nested (row, left, right), whose leaves are places in `counts`, which fall.

    The two smallest become a pair, of equals the inner node first; that is how fastText walks its two queues. A pair's
    row in the output matrix is how many there were before it.
    """
    leaves = [(count, place) for place, count in enumerate(counts)]
    pairs: list = []
    for row in range(len(counts) - 1):
        left, right = (
            leaves.pop() if leaves and (not pairs or leaves[-1][0] < pairs[0][0]) else pairs.pop(0) for _ in range(2)
        )
        pairs.append((left[0] + right[0], (row, left[1], right[1])))
    return (leaves or pairs)[0][1]


def tree_probabilities(node, hidden: np.ndarray, model, p: float = 1.0) -> dict[int, float]:
    """Return leaf -> P of the leaves below `node`, which is reached with `p`; those of 1e-5 or more."""
    if not isinstance(node, tuple):
        return {node: p} if p >= 1e-5 else {}
    row, left, right = node
    rightwards = 1 / (1 + math.exp(-float(single_product(model.outputs_LD[row], hidden))))
    found = tree_probabilities(left, hidden, model, p * (1 - rightwards + 1e-5))
    return found | tree_probabilities(right, hidden, model, p * (rightwards + 1e-5))


def single_precision_probabilities(text: bytes, model) -> list[float]:
    """Return what official fastText makes of it: rows are added one by one in float32."""
    rows = features(text, model)
    return _softmax(model.outputs_LD @ average(model.inputs_RD[rows]))


def _softmax(logits: np.ndarray) -> list[float]:
    powers = np.exp(logits - logits.max())
    return (powers / powers.sum() + 1e-5).tolist()


def count_words(texts: list[bytes]) -> dict[bytes, int]:
    """Return how often every word occurs that a dictionary may hold."""
    counts = Counter(token for text in texts for token in tokens(text)[:-1])
    return {word: n for word, n in counts.items() if not word.startswith(b"__label__")}


def descend(documents: list[list[int]], positive, order, n_features: int, rate: float) -> np.ndarray:
    """Return the weights after AdaGrad's steps, with a float32 store and double arithmetic."""
    weights, squares = np.zeros(n_features, np.float32), np.zeros(n_features, np.float32)
    for epoch in order:
        for d in epoch:
            rows = documents[d]
            mean = sum(float(weights[f]) for f in rows) / len(rows)
            gradient = (1 / (1 + math.exp(-mean)) - float(positive[d])) / len(rows)
            for f in rows:
                squares[f] += gradient * gradient
                weights[f] -= rate * gradient / math.sqrt(float(squares[f]) + 1e-12)
    return weights


def entry_counts(content: bytes, n_entries: int, at: int) -> list[int]:
    """Return the counts in a file's dictionary that starts at byte `at`."""
    counts = []
    for _ in range(n_entries):
        at = content.index(b"\0", at) + 1
        counts.append(struct.unpack_from("<q", content, at)[0])
        at += 9
    return counts
