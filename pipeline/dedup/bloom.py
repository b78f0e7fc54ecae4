"""Drop what was met before, in one pass and in fixed memory: an approximate, order-dependent deduplication.

Reads documents (and an earlier mask); writes a mask with `spans`, `passages` and `removed_bytes` (see `dedup.spans`).
With `unit: document` a document goes as `bloom_duplicate` if a text equal up to white space was met before; with
`paragraph` or `line`, passages that an earlier document had are cut out (`dedup.cut` writes the shortened documents),
and a document of which nothing would be left goes.

ORDER-DEPENDENT: the documents are met in the order of the shards and their rows, and the first one stays. This is the
one stage whose decisions change when input files are renamed, reordered or cut in another way. Use `dedup.exact`,
`dedup.lines` or `dedup.paragraphs` unless the shuffle they need is too dear.

APPROXIMATE: a new text is taken for an old one with a probability that grows to `false_positive` when `expected`
distinct ones have been met (see `kernels.bloom` for the formulas); a copy is never taken for new. The filter has
-expected ln(false_positive) / (ln 2)^2 bits: 36 MB for ten million at one in a million. One task reads all shards one
after the other; it begins again if it is stopped.
"""

from functools import partial

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline import schemas
from pipeline.dedup import spans
from pipeline.dedup.units import Scope, Unit, placed, units
from pipeline.errors import DataError
from pipeline.kernels import bloom, passages
from pipeline.ledger import Tally
from pipeline.stage import Params, Stage, Step

REASON = "bloom_duplicate"
TOLERATED = 2
"""How many times the rate of false positives that was asked for is an error."""


class BloomParams(Params):
    """What is compared, and the size of the filter: how many distinct units are expected, how many errors allowed."""

    expected: int = Field(ge=1)
    false_positive: float = Field(1e-6, gt=0, le=0.5)
    unit: Unit = "document"
    min_bytes: int = Field(1, ge=1)
    scope: Scope = "corpus"


SCHEMA = schemas.mask(spans.SPANS, pa.field("passages", pa.int32(), nullable=False), spans.REMOVED)


class Filter:
    """What has been met so far. Batches come in the order of the corpus; `rows` are all rows there will be."""

    def __init__(self, params: BloomParams, rows: int):
        self.params, self.rows = params, rows
        self.bits, self.probes = bloom.shape(params.expected, params.false_positive)
        self.table = bloom.empty(self.bits)
        self.values = self.set_bits = self.rows_met = 0

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the decisions about a batch, and remember it."""
        kept_N, texts = placed(batch, ("text", "domain"))
        found = units(texts["text"], texts["domain"], self.params.unit, self.params.scope)
        chosen_P = found.sizes >= self.params.min_bytes
        drop_P, values, newly = bloom.meet(self.table, self.bits, self.probes, found.hashes, chosen_P, found.firsts)
        self.values, self.set_bits, self.rows_met = (
            self.values + values,
            self.set_bits + newly,
            self.rows_met + len(batch),
        )
        self._check()
        gone_N = (found.sums(drop_P) > 0) & (found.sums(np.where(drop_P, 0, found.sizes)) == 0)
        drop_P &= ~np.repeat(gone_N, np.diff(found.firsts))
        spans_S2, ends = passages.removed(found.begins, found.ends, found.firsts, found.offsets, drop_P)
        counts_N = np.zeros(batch.num_rows, np.int32)
        counts_N[kept_N] = found.sums(found.sizes > 0)
        columns = spans.columns(batch, kept_N, spans_S2, ends, gone_N, REASON) | {"passages": pa.array(counts_N)}
        return pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA)

    def _check(self) -> None:
        """Stop when the filter is so full that it errs more often than was agreed to.

        Raises:
            DataError: with the number to expect instead.
        """
        rate = bloom.rate(self.bits, self.probes, self.set_bits)
        if self.values > self.params.expected and rate > TOLERATED * self.params.false_positive:
            needed = round(1.1 * self.values * self.rows / self.rows_met, -2)
            raise DataError(
                f"{self.values:,} distinct {self.params.unit}s were met in {self.rows_met:,} of {self.rows:,} rows; "
                f"the filter was made for {self.params.expected:,}. A new one is now taken for a copy with probability "
                f"{rate:.2g} instead of {self.params.false_positive:.2g}. Set `expected` to about {int(needed):,}."
            )

    def tally(self) -> Tally:
        """Return how many distinct units were met, and how many bits they have set."""
        return {"filter": {"values": self.values, "set_bits": self.set_bits}}


def bloom_pass(step: Step, params: BloomParams) -> None:
    """Let one filter meet all documents in one task, in their order."""
    bits, probes = bloom.shape(params.expected, params.false_positive)
    totals = step.stream(
        partial(Filter, params, step.inputs["documents"].manifest.rows),
        columns={"documents": ("text", "domain", "bytes"), "mask": schemas.MASK},
        schema=SCHEMA,
        tally=spans.shortened,
    )
    counts = totals.pop("filter", {"values": 0, "set_bits": 0})
    step.note(
        order_dependent=True,
        caution="the first one met stays: order, names and cutting of the input files change what is kept",
        bits=bits,
        probes=probes,
        distinct=counts["values"],
        fill=counts["set_bits"] / bits,
        estimated_false_positive=bloom.rate(bits, probes, counts["set_bits"]),
        **totals,
    )


BLOOM = Stage("dedup.bloom", version=1, params=BloomParams, inputs=("documents",), run=bloom_pass, optional=("mask",))
