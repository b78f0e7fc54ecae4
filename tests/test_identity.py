"""Identity: what makes two corpora the same, and nothing else."""

import json
import math
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.identity import canonical_json, differences, digest, fingerprint
from pipeline.stage import Params

Plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Cut(Params):
    """Some parameters."""

    threshold: float = 0.8
    ngram: int = 5
    domains: tuple[str, ...] = ("web", "bücher")


class Colour(Enum):
    RED = "red"


def test_a_fingerprint_is_pinned():
    """A change here orphans all data on disk: it must be meant."""
    found = fingerprint("dedup.keep", 1, Cut(), {"documents": "0" * 64, "bands": "1" * 64})
    assert found == "2d1be72710a2cdf4a51980ff323f2413c58db05c106e253571d6bbead537cf1c"


def test_every_part_of_the_identity_moves_the_fingerprint():
    base = fingerprint("s", 1, Cut(), {"documents": "a"})
    others = [
        fingerprint("t", 1, Cut(), {"documents": "a"}),
        fingerprint("s", 2, Cut(), {"documents": "a"}),
        fingerprint("s", 1, Cut(threshold=0.81), {"documents": "a"}),
        fingerprint("s", 1, Cut(), {"documents": "b"}),
        fingerprint("s", 1, Cut(), {"mask": "a"}),
    ]
    assert len({base, *others}) == 6


def test_a_model_and_its_plain_values_are_the_same():
    assert digest(Cut()) == digest({"ngram": 5, "threshold": 0.8, "domains": ["web", "bücher"]})
    assert canonical_json(Colour.RED) == '"red"'


@given(Plain)
def test_canonical_json_is_json_and_does_not_depend_on_the_order_of_keys(value):
    def turned(inner):
        if isinstance(inner, dict):
            return {key: turned(inner[key]) for key in reversed(list(inner))}
        return [turned(item) for item in inner] if isinstance(inner, list) else inner

    assert canonical_json(value) == canonical_json(turned(value))
    assert json.loads(canonical_json(value)) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_numbers_that_are_none_have_no_canonical_json(value):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


@pytest.mark.parametrize("value", [len, {1}, b"bytes", object(), open])
def test_what_has_no_stable_text_is_refused(value):
    with pytest.raises(TypeError, match="no canonical JSON: make it a number, a string or a Params model"):
        canonical_json({"x": value})


def test_differences_name_every_leaf_that_differs():
    left = {"params": {"a": 1, "b": [1, 2], "same": 0}, "gone": 1}
    right = {"params": {"a": 2, "b": [1, 3], "same": 0}, "new": None, "more": {"x": 1}}
    assert list(differences(left, right)) == [
        ("gone", 1, None),
        ("more", None, {"x": 1}),
        ("params.a", 1, 2),
        ("params.b", [1, 2], [1, 3]),
    ]


@given(Plain)
def test_nothing_differs_from_itself(value):
    assert list(differences(value, value)) == []
