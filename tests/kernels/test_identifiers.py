"""E-mail addresses, public IP addresses and telephone numbers, against regular expressions."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels import identifiers
from pipeline.schemas import text_buffers
from tests.kernels import reference_identifiers as twin

EMAILS = st.text(st.sampled_from("aB1_é漢-.@@[]: +!"), max_size=30)
DOTTED = st.text(st.sampled_from("012569..a@"), max_size=40)
DIALLED = st.text(st.sampled_from("12555  .-()+/a"), max_size=30)
PIECES = st.lists(
    st.sampled_from(
        [
            *("a.b@c.de", "x@[1.2.3.4]", "x@[1.2.3.a-b:]", "8.8.8.8", "10.0.0.1", "256.8.8.8", "08.8.8.8", "1.1.1.1"),
            *(
                "212-555-0123",
                "(212) 555-0123",
                "(212)555.0123",
                "+44 20 7946 0958",
                "+1 (212) 555-0123",
                "212.555.0123",
            ),
            *("+4930123456", "1-212-555-0123", "+49 (0)30 1234", "2024-01-02", "é", " ", ".", "-", "x", "7", "@", "\n"),
        ]
    ),
    max_size=8,
).map("".join)


def found(texts, kinds=identifiers.KINDS, keep=None):
    """Return (text of the span, kind) of each text."""
    data, offsets = text_buffers(pa.array(["8.8.8.8", *texts], pa.large_string()).slice(1))
    keep = np.ones(len(texts), bool) if keep is None else keep
    spans, numbers, ends = identifiers.find(data, offsets, keep, kinds)
    return [
        [
            (bytes(data[o + a : o + b]).decode(), identifiers.KINDS[k])
            for (a, b), k in zip(spans[f:t], numbers[f:t], strict=True)
        ]
        for o, (f, t) in zip(offsets, pairwise(ends), strict=False)
    ]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.one_of(EMAILS, DOTTED, DIALLED, PIECES), max_size=6),
    st.sets(st.sampled_from(identifiers.KINDS)).map(lambda kinds: tuple(sorted(kinds))),
)
def test_spans_are_those_of_the_regular_expressions(texts, kinds):
    expected = [[(text[a:b], kind) for a, b, kind in twin.find(text, kinds)] for text in texts]
    assert found(texts, kinds) == expected


@pytest.mark.parametrize("octets", [(0, 0), (10, 0), (100, 64), (100, 128), (172, 16), (172, 32), (192, 0), (224, 0)])
def test_an_address_is_global_as_python_says(octets):
    texts = [f"{octets[0]}.{octets[1]}.{c}.{d}" for c in (0, 1, 2, 100, 113, 255) for d in (0, 8, 9, 10, 11, 170, 255)]
    assert [bool(spans) for spans in found(texts)] == [twin.is_global(text) for text in texts]


LEFT_ALONE = [
    *("2024-01-02", "12.11.2023", "1.22.333", "978-0-306-40615-7", "0-306-40615-7", "1,234,567,890", "2125550123"),
    *("3.141592653589793", "123-45-6789", "212 555 0123", "+1000", "10.0.0.1", "v212-555-0123", "212-555-0123-4"),
    *("+10 2020 2021", "+1 100 200 3000", "user@localhost", "@someone", "a @ b.c", "192.168.1.1", "1.2.3"),
]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_dates_versions_isbns_and_plain_numbers_are_left_alone(text):
    assert found([text]) == [[]]


SEEN = {
    "write to jane.doe+x@mail.example.org.": ("jane.doe+x@mail.example.org", "email"),
    "ping 8.8.8.8, then": ("8.8.8.8", "ip"),
    "call (212) 555-0123 now": ("(212) 555-0123", "phone"),
    "call 1-212-555-0123.": ("1-212-555-0123", "phone"),
    "tel:212.555.0123": ("212.555.0123", "phone"),
    "Tel. +44 20 7946 0958": ("+44 20 7946 0958", "phone"),
    "Tel. +49 (0)30 123456": ("+49 (0)30 123456", "phone"),
    "+1 (212) 555-0123": ("+1 (212) 555-0123", "phone"),
    "電話+81-3-1234-5678。": ("+81-3-1234-5678", "phone"),
}


@pytest.mark.parametrize("text", SEEN)
def test_what_reaches_a_person_is_seen(text):
    assert found([text]) == [[SEEN[text]]]


def test_documents_not_kept_have_no_spans():
    assert found(["8.8.8.8", "8.8.4.4"], keep=np.array([False, True])) == [[], [("8.8.4.4", "ip")]]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kinds must be among email, ip, phone; got 'fax'"):
        found(["a"], kinds=("fax",))
