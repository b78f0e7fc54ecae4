"""What a classifier goes by: the words and n-grams that tell the classes, and documents at both ends of its scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.corpus import Shard
from pipeline.kernels import fasttext_naming, fasttext_train
from pipeline.kernels.fasttext_model import Model
from pipeline.quality.fit import POSITIVE, Documents
from pipeline.quality.train_params import CLASSES
from pipeline.schemas import doc_ids

FEATURES, DOCUMENTS = 30, 5
LEAST_SHARE, LEAST = 0.005, 3
"""A feature that is told of occurs in this share of the documents learned from, and in at least so many."""


def features(model: Model, learned: Documents) -> dict[str, list[dict[str, Any]]]:
    """Return by class the features that do most to tell it: name, weight, gap, and how many documents have it.

    The weight is what a document made of this feature alone would have as logit of being positive. The gap is the
    weight times the difference of the feature's mean share of positive and of negative documents: the gaps of all
    features add up to the distance of the mean logits of the classes.
    """
    place = model.labels.index(POSITIVE)
    weights_R = model.inputs_RD @ (model.outputs_LD[place] - model.outputs_LD[1 - place])
    found = fasttext_train.features_of(model, *learned.buffers)
    documents_R, shares_R = fasttext_naming.occurrences(found, learned.positive, len(weights_R))
    gaps_R = weights_R * shares_R
    often = np.flatnonzero((documents_R >= max(LEAST, int(LEAST_SHARE * len(learned.positive)))) & (gaps_R > 0))
    order = often[np.lexsort((often, -gaps_R[often]))]
    ends = [order[side * weights_R[order] > 0][:FEATURES] for side in (1, -1)]
    rows = np.concatenate(ends)
    told = [
        {
            "feature": name,
            "weight": round(float(weights_R[row]), 4),
            "gap": round(float(gaps_R[row]), 6),
            "documents": int(documents_R[row]),
        }
        for name, row in zip(fasttext_naming.names(model, rows, *learned.buffers), rows.tolist(), strict=True)
    ]
    return dict(zip(CLASSES, (told[: len(ends[0])], told[len(ends[0]) :]), strict=True))


def extremes(scores_N: np.ndarray, held_out: Documents, shards: Sequence[Shard]) -> dict[str, list[dict[str, Any]]]:
    """Return the held-out documents of the highest and of the lowest scores: which they are, and where they lie."""
    table, ids_N2 = held_out.table, doc_ids(held_out.table["doc_id"])
    order = np.lexsort((ids_N2[:, 1], ids_N2[:, 0], -scores_N))
    return {
        name: [
            {
                "doc_id": table["doc_id"][row].as_py().hex(),
                "domain": table["domain"][row].as_py(),
                "score": round(float(scores_N[row]), 6),
                "class": CLASSES[0 if held_out.positive[row] else 1],
                "shard": shards[table["address"][row].as_py() >> 32].name,
                "row": table["address"][row].as_py() & 0xFFFFFFFF,
            }
            for row in rows[:DOCUMENTS].tolist()
        ]
        for name, rows in (("highest", order), ("lowest", order[::-1]))
    }
