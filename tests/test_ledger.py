"""The books: they add up place by place, and a stage that loses a row is refused."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import schemas
from pipeline.errors import DataError
from pipeline.ledger import add, check, count_decisions, entry, ordered, total

Row = st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.booleans(), st.sampled_from([None, "short", "copy"]))


@given(st.lists(Row, max_size=30), st.integers(0, 30))
def test_the_books_of_a_batch_are_those_of_its_parts_and_balance(rows, cut):
    def books(part):
        before = pa.RecordBatch.from_pydict(
            {"domain": [r[0] for r in part], "bytes": [r[1] for r in part], "keep": [r[2] for r in part]},
            schema=pa.schema([("domain", pa.string()), ("bytes", pa.int64()), ("keep", pa.bool_())]),
        )
        after = {
            "keep": [r[2] and r[3] is None for r in part],
            "reason": [r[3] if r[2] else "earlier" for r in part],
        }
        return count_decisions(before, pa.RecordBatch.from_pydict(after, schema=schemas.mask()))

    whole = books(rows)
    assert whole == add(books(rows[:cut]), books(rows[cut:]))
    check(whole, "test")
    alive = [row for row in rows if row[2]]
    assert total(whole)["rows_in"] == len(alive)
    assert total(whole)["bytes_kept"] == sum(size for _, size, _, reason in alive if reason is None)
    for domain, reason in ((row[0], row[3]) for row in alive if row[3]):
        same = [row for row in alive if (row[0], row[3]) == (domain, reason)]
        assert whole[domain]["dropped"][reason] == len(same)
        assert whole[domain]["dropped_bytes"][reason] == sum(row[1] for row in same)


def test_books_that_do_not_balance_are_refused_with_their_domain():
    books = {"web": entry(5, 10), "code": {"rows_in": 5, "rows_kept": 2, "dropped": {"copy": 2}}}
    with pytest.raises(DataError, match=r"stage x: the books of domain 'code' .* 5 rows in, 2 kept, 2 dropped"):
        check(books, "stage x")


def test_tallies_add_up_place_by_place():
    left = {"a": 1, "deep": {"x": 1.5}}
    assert add(left, {"b": 2, "deep": {"x": 1, "y": 3}}) == {"a": 1, "b": 2, "deep": {"x": 2.5, "y": 3}}


def test_a_sum_does_not_take_its_part_as_its_own():
    part = {"deep": {"x": 1}}
    sums = add({}, part)
    add(sums, part)
    assert (sums, part) == ({"deep": {"x": 2}}, {"deep": {"x": 1}})


def test_an_ordered_tally_does_not_tell_who_came_first():
    assert list(ordered({"b": {"z": 1, "a": 2}, "a": 0})) == ["a", "b"]
    assert list(ordered({"b": {"z": 1, "a": 2}})["b"]) == ["a", "z"]
