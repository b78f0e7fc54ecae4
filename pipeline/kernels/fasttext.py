"""Probabilities of any supervised fastText model, over Arrow's text buffers.

A model is scored on one of three paths. Softmax over two labels and at most bigrams collapses to one float a feature
(`fasttext_collapsed`). Softmax over at most as many labels as dimensions collapses to a float a feature and label: it
is read once a feature, so the narrower matrix is the faster one as well as the smaller. Everything else goes through
the hidden vector (`fasttext_average`): with more labels a row of D floats is narrower, a tree asks for a few labels
only, and a table of steps asks for fastText's own sums to the last bit.

Every result is the same on every machine: sums have a fixed order, there is no fused arithmetic, `exp` and `log` are
our own. Which features a document has is told in `fasttext_features`.

Shapes: N documents, L labels, R rows of the input matrix. `data` is uint8, `offsets` int64 [N + 1].
"""

from collections.abc import Mapping

import numpy as np

from pipeline.kernels import fasttext_losses as losses
from pipeline.kernels.fasttext_average import averages
from pipeline.kernels.fasttext_collapsed import PIECE, collapse, collapsed_logits, packed_table
from pipeline.kernels.fasttext_features import Lookup, frozen, lookup_of, without_newlines
from pipeline.kernels.fasttext_model import Model, Quantised

NO_NORMS = np.empty(0, np.float32)
LOOKUP_ARRAYS = ("keys", "entries", "pruned_rows", "parts", "part_offsets")


class Scorer:
    """A supervised model made ready for scoring.

    What is worked out once, tables and weights, is in `made`, by name: saved and given back as memory maps, it is one
    copy for all processes of a machine. `drop_newlines` reads every text as if "\\n" were not there, instead of as a
    space. An unquantised model that is not collapsed stays where it is, a view of its file.

    Raises:
        ValueError: the dictionary is damaged.
    """

    def __init__(
        self, model: Model, made: Mapping[str, np.ndarray] | None = None, *, drop_newlines: bool = False
    ) -> None:
        self.labels = model.labels
        self._drop_newlines = drop_newlines
        self.made = dict(_made(model) if made is None else made)
        arrays = {name: frozen(array) for name, array in self.made.items()}
        sizes = (int(np.log2(len(arrays["keys"]))), model.n_words, model.bucket, model.word_ngrams)
        self._lookup = Lookup(
            shift=32 - sizes[0],
            n_words=sizes[1],
            bucket=sizes[2],
            word_ngrams=sizes[3],
            minn=model.minn,
            maxn=model.maxn,
            **{name: arrays[name] for name in LOOKUP_ARRAYS},
        )
        self._packed = arrays.get("packed")
        self._eos = arrays.get("eos", np.empty(0, np.float32))
        if is_collapsed(model):
            self._matrix, self._norms = arrays["weights"], frozen(NO_NORMS)
            self._output = losses.linear_output(len(self.labels))
        else:
            self._matrix = arrays["directions"] if "directions" in arrays else frozen(np.asarray(model.inputs_RD))
            self._norms = arrays.get("norms", frozen(NO_NORMS))
            counts = model.entry_counts[model.n_words :]
            self._output = losses.output_of(model.loss, model.outputs_LD, counts)

    def probabilities(self, data: np.ndarray, offsets: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
        """P of every label, float64 [N, L] in the order of `labels`, as fastText would print it.

        NaN where `keep` (bool [N]) is False, for documents without a single feature, for which fastText predicts
        nothing, and for labels that a hierarchical softmax does not list.
        """
        return losses.all_labels(self._output, self._values(data, offsets, keep))

    def probability(
        self, data: np.ndarray, offsets: np.ndarray, label: int, keep: np.ndarray | None = None
    ) -> np.ndarray:
        """P of the label at place `label` of `labels`, float64 [N]; NaN as in `probabilities`."""
        return losses.one_label(self._output, self._values(data, offsets, keep), label)

    def best(
        self, data: np.ndarray, offsets: np.ndarray, keep: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The most probable label, int32 [N] places in `labels`, and its P, float32 [N].

        -1 and NaN where `keep` (bool [N]) is False and where fastText predicts nothing. Ties go as fastText's: to the
        last of the equals.
        """
        return losses.best_label(self._output, self._values(data, offsets, keep))

    def _values(self, data: np.ndarray, offsets: np.ndarray, keep: np.ndarray | None) -> np.ndarray:
        """The hidden vectors or logits that the last layer takes, [N, ...]; NaN for what is not predicted."""
        n = len(offsets) - 1
        keep = np.ones(n, np.bool_) if keep is None else keep
        if self._drop_newlines:
            data, offsets = without_newlines(frozen(data), frozen(offsets))
        data, offsets = frozen(data), frozen(offsets)
        wide = np.float64 if self._output.code == losses.LINEAR else np.float32
        values = np.full((n, self._matrix.shape[1]), np.nan, wide)
        rows = np.flatnonzero(keep) if self._packed is None else self._collapsed(data, offsets, keep, values[:, 0])
        averages(data, offsets, rows, self._lookup, self._matrix, self._norms, values)
        return values

    def _collapsed(self, data: np.ndarray, offsets: np.ndarray, keep: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Write what the kernel for two labels can; returns the documents it leaves to the general one."""
        lookup = self._lookup
        bigrams = lookup.word_ngrams > 1
        return collapsed_logits(
            data,
            offsets,
            keep,
            self._packed,
            np.uint64(lookup.shift),
            self._matrix[lookup.n_words :, 0] if bigrams else self._matrix[:0, 0],
            float(self._eos[0]) if len(self._eos) else 0.0,
            bool(len(self._eos)),
            bigrams,
            logits,
        )


def is_collapsed(model: Model) -> bool:
    """Whether the model is scored from collapsed weights: softmax, and no more labels than dimensions."""
    return model.loss == "softmax" and len(model.outputs_LD) <= max(model.outputs_LD.shape[1], 2)


def _made(model: Model) -> dict[str, np.ndarray]:
    """All that has to be worked out or expanded before a model can score, by name."""
    lookup = lookup_of(model)
    made = {name: getattr(lookup, name) for name in LOOKUP_ARRAYS}
    if is_collapsed(model):
        made["weights"] = collapse(model)
        return made | _packed(model, lookup, made["weights"])
    if isinstance(model.inputs_RD, Quantised):
        directions = np.empty(model.inputs_RD.shape, np.float32)
        for start in range(0, len(directions), PIECE):
            directions[start : start + PIECE] = model.inputs_RD.directions(slice(start, start + PIECE))
        made |= {"directions": directions, "norms": model.inputs_RD.norms_R}
    return made


def _packed(model: Model, lookup: Lookup, weights_RL: np.ndarray) -> dict[str, np.ndarray]:
    """The table of the collapsed kernel and the weight of `</s>`, or nothing where it cannot score the model.

    A weight of 0.0 becomes -0.0, since an empty slot is all zero bits.
    """
    plain = model.maxn == 0 and model.word_ngrams <= 2 and model.pruned_rows is None
    if not plain or len(model.labels) != 2 or not all(label.startswith("__label__") for label in model.labels):
        return {}
    weights = weights_RL[: model.n_words, 0].copy()
    weights[weights == 0] = -0.0
    packed, exact = packed_table(lookup, model.entry_bytes, model.entry_offsets, weights.view(np.uint32))
    end_of_text = [e for e in range(model.n_words) if model.entry(e) == b"</s>"]
    return {"packed": packed, "eos": weights[end_of_text]} if exact else {}
