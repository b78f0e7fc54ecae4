"""From the last layer of a fastText model to the probabilities of its labels, for each of its losses.

    softmax                 exp(x_l) / sum exp(x) + 1e-5
    one-vs-all, negative    t(x_l) + 1e-5, with the logistic function read off a table of 512 steps from -8 to 8
    sampling
    hierarchical softmax    the product over the label's path in a Huffman tree of s or 1 - s, each + 1e-5; s is the
                            logistic function of the node. A label whose product is below 1e-5 is not listed.

They are what fastText 0.9.3 prints (`Loss::predict`, `HierarchicalSoftmaxLoss::dfs`, `FastText::predictLine`): the
1e-5 is added before each logarithm. Its products and sums are in float32; where a step of a table or the order of
labels hangs on the last bit, so are ours, rounded one by one. (A fastText that was compiled for a processor that fuses
them may differ there.)

Shapes: N documents, L labels, D dimensions, M = 2 L - 1 nodes of a tree, leaves first.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.kernels.fasttext_hash import exp, log
from pipeline.kernels.fasttext_model import Quantised

PRIOR = 1e-5  # fastText adds this to every probability before its logarithm
LINEAR, SOFTMAX, TABLE, TREE = range(4)  # LINEAR: the softmax of logits that are ready, in double
CODES = {"softmax": SOFTMAX, "one-vs-all": TABLE, "negative sampling": TABLE, "hierarchical softmax": TREE}
STEPS, REACH = 512, 8  # of the table: from -REACH to REACH


class Output(NamedTuple):
    """The last layer: what it computes from a hidden vector of D numbers, or from L logits (LINEAR)."""

    code: int
    n_labels: int
    vectors_DL: np.ndarray  # float32; empty if LINEAR or TREE
    nodes_LD: np.ndarray  # float32, of the inner nodes of a TREE; else empty
    norms_L: np.ndarray  # float32, that products are multiplied by; empty: by nothing
    children_M2: np.ndarray  # int32, of a TREE: left and right, -1 of a leaf
    parents_M: np.ndarray  # int32, of a TREE: -1 of the root
    table: np.ndarray  # float32 [STEPS + 1]


def output_of(loss: str, outputs_LD: np.ndarray | Quantised, label_counts_L: np.ndarray) -> Output:
    """Return the last layer of a model with this loss, its output matrix and how often each label occurred."""
    code, (n_labels, dim) = CODES[loss], outputs_LD.shape
    rows_LD, norms_L = outputs_LD[:], np.empty(0, np.float32)
    if isinstance(outputs_LD, Quantised):  # fastText multiplies by the norm when the product is summed
        rows_LD, norms_L = outputs_LD.directions(slice(None)), outputs_LD.norms_R
    vectors_DL = np.ascontiguousarray(rows_LD.T if code != TREE else np.empty((dim, 0)), np.float32)
    nodes_LD = np.array(rows_LD if code == TREE else np.empty((0, dim)), np.float32)
    children_M2, parents_M = _huffman(label_counts_L if code == TREE else label_counts_L[:1])
    return Output(code, n_labels, vectors_DL, nodes_LD, norms_L, children_M2, parents_M, _logistic_table())


def linear_output(n_labels: int) -> Output:
    """Return the last layer of a softmax model whose logits are ready."""
    return output_of("softmax", np.empty((n_labels, 0), np.float32), np.ones(1, np.int64))._replace(code=LINEAR)


def _logistic_table() -> np.ndarray:
    x = np.arange(STEPS + 1, dtype=np.float32) * np.float32(2 * REACH / STEPS) - np.float32(REACH)
    powers = np.array([exp(-float(value)) for value in x], np.float32)
    return (1.0 / (1.0 + powers.astype(np.float64))).astype(np.float32)


@njit(cache=True, nogil=True)
def _huffman(counts):
    """Children [M, 2] and parents [M] of fastText's tree (`buildTree`): labels come most frequent first."""
    leaves = len(counts)
    size = 2 * leaves - 1
    weights = np.full(size, np.int64(1e15))
    weights[:leaves] = counts
    children = np.full((size, 2), -1, np.int32)
    parents = np.full(size, -1, np.int32)
    leaf, node = leaves - 1, leaves
    for i in range(leaves, size):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[i, side] = leaf
                leaf -= 1
            else:
                children[i, side] = node
                node += 1
            parents[children[i, side]] = i
        weights[i] = weights[children[i, 0]] + weights[children[i, 1]]
    return children, parents


@njit(cache=True, nogil=True)
def _log(x):
    """fastText's logarithm of a probability, in float32."""
    return np.float32(log(np.float64(x) + PRIOR))


@njit(cache=True, nogil=True)
def _branches(output, hidden_D, node):
    """The logarithms of going left and right at an inner node."""
    total = np.float32(0)
    row_D = output.nodes_LD[node - output.n_labels]
    for k in range(len(row_D)):
        total += row_D[k] * hidden_D[k]
    if len(output.norms_L):
        total *= output.norms_L[node - output.n_labels]
    right = np.float32(1.0 / np.float64(np.float32(1) + np.float32(exp(-np.float64(total)))))
    return _log(np.float32(1.0 - np.float64(right))), _log(right)


@njit(cache=True, nogil=True)
def _descend(output, hidden_D, stack, scores, row_L, single):
    """Walk the tree as fastText does, left first, and write the probability of every leaf it comes to.

    With `single` it keeps the best leaf only, and leaves out branches that cannot reach it; returns that leaf, else -1.
    """
    floor = _log(np.float32(0))
    best, best_score = -1, floor
    stack[0], scores[0], n = len(output.children_M2) - 1, np.float32(0), 1
    while n:
        n -= 1
        node, score = stack[n], scores[n]
        if score < floor or (best >= 0 and score < best_score):
            continue
        if node < output.n_labels:
            row_L[node] = np.float64(np.float32(exp(np.float64(score))))
            if single:
                best, best_score = node, score
            continue
        left, right = _branches(output, hidden_D, node)
        for side in range(2):  # the right one lies below the left one
            stack[n + side] = output.children_M2[node, 1 - side]
            scores[n + side] = score + (left if side else right)
        n += 2
    return best


@njit(cache=True, nogil=True)
def _leaf(output, hidden_D, label):
    """The probability of one leaf; NaN if fastText does not list it."""
    total, node = np.float32(0), np.int64(label)
    path = np.empty(0, np.float32)
    logs = np.empty(len(output.parents_M), np.float32)
    n = 0
    while output.parents_M[node] >= 0:
        parent = output.parents_M[node]
        left, right = _branches(output, hidden_D, parent)
        logs[n] = right if output.children_M2[parent, 1] == node else left
        node = parent
        n += 1
    path = logs[:n]
    for i in range(n - 1, -1, -1):  # from the root, as fastText adds
        total += path[i]
    return np.float64(np.float32(exp(np.float64(total)))) if total >= _log(np.float32(0)) else math.nan


@njit(cache=True, nogil=True)
def _logits(output, hidden_D, sums_L):
    """Write the float32 products of a hidden vector with all labels' vectors, each in fastText's order."""
    sums_L[:] = np.float32(0)
    for k in range(len(hidden_D)):
        value = hidden_D[k]
        for label in range(len(sums_L)):
            sums_L[label] += output.vectors_DL[k, label] * value
    for label in range(len(output.norms_L)):
        sums_L[label] *= output.norms_L[label]


@njit(cache=True, nogil=True)
def _softmax(row_L):
    """Make probabilities of logits, in place."""
    top = row_L.max()
    total = 0.0
    for label in range(len(row_L)):
        row_L[label] = exp(row_L[label] - top)
        total += row_L[label]
    for label in range(len(row_L)):
        row_L[label] = row_L[label] / total + PRIOR


@njit(cache=True, nogil=True)
def _stepped(output, x):
    """The logistic function of a float32 as fastText's table has it."""
    if x < -REACH:
        return 0.0
    if x > REACH:
        return 1.0
    return np.float64(output.table[np.int64((x + np.float32(REACH)) * np.float32(STEPS / REACH / 2))])


@njit(cache=True, nogil=True)
def _row(output, values, sums_L, row_L):
    """Write the probabilities of all labels of one document; not for a TREE."""
    if output.code == LINEAR:
        if len(values) == 1 and len(row_L) == 2:
            row_L[0] = 1.0 / (1.0 + exp(values[0])) + PRIOR
            row_L[1] = 1.0 / (1.0 + exp(-values[0])) + PRIOR
            return
        row_L[:] = values
    else:
        _logits(output, values, sums_L)
        row_L[:] = sums_L
    if output.code == TABLE:
        for label in range(len(row_L)):
            row_L[label] = _stepped(output, sums_L[label]) + PRIOR
    else:
        _softmax(row_L)


@njit(cache=True, nogil=True)
def _room(output):
    """Scratch space for one document."""
    n = len(output.children_M2) + 1
    return np.empty(n, np.int64), np.empty(n, np.float32), np.empty(output.n_labels, np.float32)


@njit(cache=True, nogil=True)
def all_labels(output, values_ND):
    """P of every label, float64 [N, L]; NaN where fastText lists none. `values_ND` is NaN for no features."""
    out = np.full((len(values_ND), output.n_labels), np.nan)
    stack, scores, sums_L = _room(output)
    for d in range(len(values_ND)):
        if math.isnan(values_ND[d, 0]):
            continue
        if output.code == TREE:
            _descend(output, values_ND[d], stack, scores, out[d], False)
        else:
            _row(output, values_ND[d], sums_L, out[d])
    return out


@njit(cache=True, nogil=True)
def one_label(output, values_ND, label):
    """P of one label, float64 [N], NaN as in `all_labels`; it never holds N x L numbers."""
    out = np.full(len(values_ND), np.nan)
    _, _, sums_L = _room(output)
    row_L = np.empty(output.n_labels)
    for d in range(len(values_ND)):
        if math.isnan(values_ND[d, 0]):
            continue
        if output.code == TREE:
            out[d] = _leaf(output, values_ND[d], label)
        else:
            _row(output, values_ND[d], sums_L, row_L)
            out[d] = row_L[label]
    return out


@njit(cache=True, nogil=True)
def best_label(output, values_ND):
    """The most probable label, int32 [N], -1 where fastText predicts nothing, and its P, float32 [N], NaN there.

    Of equally probable labels it is the last one, as in fastText's heap of one; in a tree the last one on its walk.
    """
    labels = np.full(len(values_ND), -1, np.int32)
    probabilities = np.full(len(values_ND), np.nan, np.float32)
    stack, scores, sums_L = _room(output)
    row_L = np.empty(output.n_labels)
    for d in range(len(values_ND)):
        if math.isnan(values_ND[d, 0]):
            continue
        best = -1
        if output.code == TREE:
            best = _descend(output, values_ND[d], stack, scores, row_L, True)
        else:
            _row(output, values_ND[d], sums_L, row_L)
            for label in range(len(row_L)):
                if best < 0 or row_L[label] >= row_L[best]:
                    best = label
        if best >= 0:
            labels[d], probabilities[d] = best, row_L[best]
    return labels, probabilities
