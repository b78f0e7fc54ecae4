"""What is left around spans with a margin, against strings."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import pieces, spans
from pipeline.schemas import text_buffers
from tests.kernels import reference_overlap as twin

TEXTS = st.text(st.sampled_from("abé漢😀"), max_size=24)


@settings(max_examples=100)
@given(st.lists(TEXTS, max_size=5), st.integers(0, 4), st.integers(1, 5), st.data())
def test_pieces_are_those_of_strings(texts, margin, least, data):
    chosen = []
    for text in texts:
        ends = st.integers(0, len(text))
        found = data.draw(st.lists(st.tuples(ends, ends).map(sorted).filter(lambda s: s[0] < s[1]), max_size=4))
        chosen.append(sorted((a, b) for a, b in found))
    given_spans = [
        [len(t[:a].encode()), len(t[:b].encode())] for t, own in zip(texts, chosen, strict=True) for a, b in own
    ]
    buffers = text_buffers(pa.array(["é", *texts], pa.large_string()).slice(1))
    counts = np.cumsum([0, *map(len, chosen)])
    array = np.array(given_spans, np.int64).reshape(-1, 2)
    wide, ends, left = pieces.around(*buffers, array, counts, margin, least)
    rest, out = spans.cut(*buffers, wide, ends)
    expected = [twin.around(text, own, margin, least) for text, own in zip(texts, chosen, strict=True)]
    assert [bytes(rest[a:b]).decode() for a, b in pairwise(out)] == ["".join(found) for found in expected]
    assert left.tolist() == [len(found) if own else 1 for found, own in zip(expected, chosen, strict=True)]
    for a, b in pairwise(ends):
        assert all(end < start for (_, end), (start, _) in pairwise(wide[a:b].tolist()))
