"""Packing: rows decode to the documents, shares are the plan's to the token, and places decide nothing."""

import json
from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer

from pipeline.errors import DataError, StageError
from pipeline.files import checksum
from pipeline.stage import Step
from pipeline.tokens import selection
from pipeline.tokens.format import PADDING
from pipeline.tokens.loader import PackedDataset
from tests.conftest import read
from tests.stages.masks import masked
from tests.stages.road import Road, in_shards, some_documents, token_lists

EOS = 0


def packed(root, shards, length=64, seed=0, **plan):
    road = Road(root, shards)
    road.plan(**plan)
    return road, road.pack(sequence_length=length, seed=seed)


def contents(corpus):
    names = sorted(path.name for path in (corpus.root / "data").iterdir())
    return {name: (corpus.root / "data" / name).read_bytes() for name in names}


def segments(corpus):
    """Yield (epoch, doc_id, start, tokens, domain) of every segment that is not padding."""
    dataset = PackedDataset(corpus.root)
    for row in range(len(dataset)):
        tokens, begin = dataset.tokens(np.array([row]))[0].tolist(), 0
        for segment in dataset.segments(row):
            if segment["domain"] != PADDING:
                doc_id = segment["doc_id"].tobytes()
                piece = tokens[begin : segment["end"]]
                yield int(segment["epoch"]), doc_id, int(segment["start"]), piece, int(segment["domain"])
            begin = int(segment["end"])


def uses(corpus):
    """The tokens of every (epoch, doc_id), put together from its pieces; equal documents one after the other."""
    parts = {}
    for epoch, doc_id, start, piece, _ in segments(corpus):
        parts.setdefault((epoch, doc_id), {}).setdefault(start, []).append(piece)
    return {key: [piece for start in sorted(starts) for piece in starts[start]] for key, starts in parts.items()}


def joined(pieces):
    return [token for piece in pieces for token in piece]


def documents(road):
    return dict(zip(read(road.tokens)["doc_id"].to_pylist(), token_lists(road.tokens), strict=True))


def test_the_rows_hold_every_document_once_each_with_its_eos(tmp_path):
    road, corpus = packed(tmp_path, in_shards(some_documents(), 3))
    found = {doc_id: joined(pieces) for (_, doc_id), pieces in uses(corpus).items()}
    assert found == {doc_id: [*tokens, EOS] for doc_id, tokens in documents(road).items()}


def test_packed_rows_decode_to_the_texts(tmp_path):
    rows = some_documents(80)
    _, corpus = packed(tmp_path, [rows])
    tokenizer = Tokenizer.from_file(str(corpus.root / "data/tokenizer.json"))
    decoded = Counter(tokenizer.decode(joined(pieces)[:-1]) for pieces in uses(corpus).values())
    assert decoded == Counter(text for text, _ in rows)


def test_only_documents_longer_than_a_sequence_are_cut_and_only_into_full_pieces(tmp_path):
    road, corpus = packed(tmp_path, in_shards(some_documents(), 2))
    lengths = {doc_id: len(tokens) + 1 for doc_id, tokens in documents(road).items()}
    for (_, doc_id), pieces in uses(corpus).items():
        assert [len(piece) for piece in pieces[:-1]] == [64] * ((lengths[doc_id] - 1) // 64)
    longer = sum(n > 64 for n in lengths.values())
    assert sum(d["longer_than_a_sequence"] for d in corpus.manifest.facts["by_domain"].values()) == longer > 0


def test_measured_shares_are_the_plans_to_the_token(tmp_path):
    budget = 30_011
    road, corpus = packed(
        tmp_path, in_shards(some_documents(), 3), weights={"books": 0.5, "code": 0.2, "web": 0.3}, budget_tokens=budget
    )
    facts = corpus.manifest.facts
    measured = Counter()
    for _, _, _, piece, domain in segments(corpus):
        measured[facts["domains"][domain]] += len(piece)
    plan = json.loads((road.plan_corpus.root / "data/plan.json").read_text())
    assert measured == {domain: entry["tokens"] for domain, entry in plan["domains"].items()}
    assert sum(measured.values()) == facts["tokens"] == budget
    assert facts["padding"] == facts["sequences"] * 64 - budget


def test_a_document_comes_once_an_epoch_and_the_last_epoch_is_a_part(tmp_path):
    road, corpus = packed(
        tmp_path, in_shards(some_documents(), 3), weights="uniform", budget_tokens=40_000, max_epochs=6
    )
    plan = json.loads((road.plan_corpus.root / "data/plan.json").read_text())["domains"]
    domain_of = {row["doc_id"]: row["domain"] for row in read(road.tokens).to_pylist()}
    by_epoch = Counter((domain_of[doc_id], epoch) for epoch, doc_id in uses(corpus))
    for domain, entry in plan.items():
        whole = int(entry["epochs"])
        assert all(by_epoch[domain, epoch] == entry["documents"] for epoch in range(whole))
        assert 0 < by_epoch[domain, whole] < entry["documents"]
        assert by_epoch[domain, whole + 1] == 0
    assert max(entry["epochs"] for entry in plan.values()) > 4


def test_one_document_a_domain_is_cut_by_the_budget_and_it_has_no_eos(tmp_path):
    road, corpus = packed(tmp_path, in_shards(some_documents(), 3), budget_tokens=9_001)
    whole = documents(road)
    cut = {}
    for (_, doc_id), pieces in uses(corpus).items():
        tokens = joined(pieces)
        if tokens != [*whole[doc_id], EOS]:
            assert tokens == whole[doc_id][: len(tokens)]
            cut[doc_id] = len(whole[doc_id]) + 1 - len(tokens)
    facts = corpus.manifest.facts["by_domain"].values()
    assert len(cut) == sum(entry["cut_by_the_budget"] for entry in facts)
    assert 0 < len(cut) <= 3
    assert sum(cut.values()) == sum(entry["tokens_cut_by_the_budget"] for entry in facts)


@pytest.mark.parametrize("windows", [1, 5])
def test_files_and_their_order_decide_nothing(tmp_path, monkeypatch, windows):
    monkeypatch.setattr(Step, "partitions", lambda step, size: windows)
    rows = some_documents(250)
    plan = {"weights": "uniform", "budget_tokens": 31_000, "max_epochs": 6}
    one = contents(packed(tmp_path / "one", in_shards(rows, 1), **plan)[1])
    assert contents(packed(tmp_path / "two", in_shards(rows, 6, seed=1), **plan)[1]) == one
    assert len(one) == 3 * windows + 1
    assert contents(packed(tmp_path / "other", in_shards(rows, 1), seed=1, **plan)[1]) != one


def test_equal_documents_are_each_taken_and_cut_as_one_would_be(tmp_path):
    copies = [("the same text again and again", "web")] * 40
    rows = copies + some_documents(40)
    for budget in (2_000, 2_017, 2_100):
        layouts = [in_shards(rows, 1), in_shards(rows, 5, seed=budget)]
        made = [packed(tmp_path / f"{budget}-{i}", shards, budget_tokens=budget) for i, shards in enumerate(layouts)]
        assert contents(made[0][1]) == contents(made[1][1])
        assert made[0][1].manifest.facts["tokens"] == budget


@pytest.mark.parametrize("budget", [None, 9_001])
def test_the_cut_is_the_same_however_coarsely_the_draws_are_surveyed(tmp_path, monkeypatch, budget):
    shards = in_shards([("the same text again and again", "web")] * 20 + some_documents(), 3)
    fine = contents(packed(tmp_path / "fine", shards, budget_tokens=budget)[1])
    monkeypatch.setattr(selection, "SURVEYED", 8)
    assert contents(packed(tmp_path / "coarse", shards, budget_tokens=budget)[1]) == fine


def test_windows_hold_each_a_part_and_together_all(tmp_path, monkeypatch):
    monkeypatch.setattr(Step, "partitions", lambda step, size: 4)
    road, corpus = packed(tmp_path, in_shards(some_documents(400), 3))
    assert [shard.rows > 0 for shard in corpus.manifest.shards] == [True] * 4
    found = {doc_id: joined(pieces) for (_, doc_id), pieces in uses(corpus).items()}
    assert found == {doc_id: [*tokens, EOS] for doc_id, tokens in documents(road).items()}


def test_documents_that_a_later_mask_drops_are_not_packed(tmp_path):
    rows = some_documents(60)
    road = Road(tmp_path, [rows])
    road.encode()
    road.mask = {"mask": masked(tmp_path / "mask", road.documents, [[i % 2 == 0 for i in range(60)]])}
    road.plan()
    corpus = road.pack(sequence_length=64)
    ids = [row["doc_id"] for row in read(road.tokens).to_pylist()]
    assert {doc_id for _, doc_id in uses(corpus)} == set(ids[::2])


def test_every_document_is_in_the_books(tmp_path):
    _, corpus = packed(tmp_path, in_shards(some_documents(), 3), budget_tokens=9_001)
    used = len({doc_id for _, doc_id in uses(corpus)})
    books = corpus.manifest.ledger.values()
    assert sum(entry["rows_in"] for entry in books) == 300
    assert sum(entry["rows_kept"] for entry in books) == used
    assert sum(entry["dropped"]["beyond_budget"] for entry in books) == 300 - used


def test_a_mask_wider_than_that_of_the_tokens_is_refused(tmp_path):
    rows = some_documents(20)
    road = Road(tmp_path, [rows])
    road.mask = {"mask": masked(tmp_path / "mask", road.documents, [[i > 3 for i in range(20)]])}
    road.plan()
    road.mask = {}
    with pytest.raises(StageError, match=r"the mask keeps document [0-9a-f]{32}, which was not encoded"):
        road.pack()


def test_a_plan_of_other_documents_is_refused(tmp_path):
    road, other = Road(tmp_path / "a", [some_documents(20)]), Road(tmp_path / "b", [some_documents(21)])
    other.plan()
    road.encode()
    road.plan_corpus = other.plan_corpus
    with pytest.raises(DataError, match=r"tokens, the plan says .* must read the same tokens and the same mask"):
        road.pack()


def test_the_shape_of_a_row_is_what_was_asked(tmp_path):
    _, corpus = packed(tmp_path, [some_documents(300)], length=128)
    dataset = PackedDataset(corpus.root)
    assert dataset.sequence_length == 128
    assert dataset.packed.dtype == np.uint16
    assert dataset.packed.domains == ("books", "code", "web")
    assert dataset.packed.tokenizer == checksum(corpus.root / "data/tokenizer.json")
    assert corpus.manifest.rows == len(dataset)
    assert corpus.manifest.facts["fill"] > 0.97
