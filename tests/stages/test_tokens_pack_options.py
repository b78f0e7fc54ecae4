"""The options of packing: whatever they are, the books are exact and the plan is met to the token."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.errors import ConfigError, DataError, PipelineError, StageError
from pipeline.kernels.document_cost import cost
from pipeline.stage import MAX_PARTITIONS
from pipeline.store import open_corpus
from pipeline.tokens.format import PADDING
from pipeline.tokens.loader import PackedDataset
from pipeline.tokens.pack import PACK, PackParams
from pipeline.tokens.train import TRAIN, TrainParams
from tests.conftest import read, run_stage, write_corpus, write_documents
from tests.stages.road import Road, in_shards, some_documents, token_lists
from tests.stages.test_tokens_pack import EOS, contents, joined, segments, uses

LENGTH = 64
BOS_NAME, BOS = "<|bos|>", 1
MARKED = {"bos": BOS_NAME}
OPTIONS = [
    {"mode": "concat_chunk"},
    {"mode": "pad"},
    {"mode": "spfhp", "depth": 3},
    {"split": False},
    {"least_rest": 20},
    {"one_domain": True},
    MARKED,
    {"mode": "concat_chunk", "one_domain": True} | MARKED,
    {"mode": "pad", "split": False} | MARKED,
    {"mode": "spfhp", "least_rest": 40, "one_domain": True} | MARKED,
]


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """Encoded documents whose tokenizer has a BOS; their plans and sequences are made beside them."""
    root = tmp_path_factory.mktemp("road")
    rows = [*some_documents(), ("", "web"), ("", "web")]
    documents = write_documents(root / "for the tokenizer", [rows])
    params = TrainParams(vocab_size=400, special_tokens=("<|endoftext|>", BOS_NAME))
    tokenizer = run_stage(root / "tokenizer of its own", TRAIN, params, documents=documents)
    made = Road(root, in_shards(rows, 3), tokenizer=tokenizer.root / "data/tokenizer.json")
    made.encode()
    return made


def rule_of(options):
    return PackParams(sequence_length=LENGTH, **options).rule()


def packed(road, root, options, **plan):
    """Plan and pack under `root` with options that both are told."""
    road.root = root
    told = road.plan(packing=rule_of(options)._asdict(), **plan)
    return told, road.pack(sequence_length=LENGTH, **options)


def marked(tokens, rule):
    return [*([BOS] if rule.bos else []), *tokens, EOS]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_tokens_in_are_tokens_packed_and_tokens_left_out_by_reason(road, tmp_path, options):
    rule = rule_of(options)
    plan, corpus = packed(road, tmp_path, options)
    facts, found = corpus.manifest.facts, uses(corpus)
    expected = {}
    for row, tokens in zip(read(road.tokens).to_pylist(), token_lists(road.tokens), strict=True):
        whole = marked(tokens, rule) if tokens else []
        takes = cost(np.array([len(tokens)]), rule).packed[0]
        if takes:
            expected[0, row["doc_id"]] = whole[:takes]
    assert {key: joined(pieces) for key, pieces in found.items()} == expected
    lost = Counter()
    for domain, reasons in facts["left_out"].items():
        lost[domain] += sum(entry["tokens"] for entry in reasons.values())
    into = Counter()
    for row in read(road.tokens).to_pylist():
        into[row["domain"]] += row["length"] + 1 + rule.bos if row["length"] else 0
    for domain, entry in plan["domains"].items():
        assert into[domain] == facts["by_domain"][domain]["tokens"] + lost[domain]
        assert entry["tokens"] == facts["by_domain"][domain]["tokens"]
        assert entry["left_out_tokens"] == lost[domain]
    assert facts["tokens"] == sum(len(tokens) for tokens in expected.values())
    books = corpus.manifest.ledger
    assert sum(entry["rows_in"] for entry in books.values()) == 302
    assert sum(entry["rows_kept"] for entry in books.values()) == len(expected)
    assert books["web"]["dropped"]["no_tokens"] == 2


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_plan_is_met_to_the_token_over_epochs_whatever_the_options(road, tmp_path, options):
    weights = {"books": 0.3, "code": 0.2, "web": 0.5}
    plan, corpus = packed(road, tmp_path, options, weights=weights, budget_tokens=21_011, max_epochs=9)
    measured = Counter()
    for _, _, _, piece, domain in segments(corpus):
        measured[corpus.manifest.facts["domains"][domain]] += len(piece)
    assert measured == {domain: entry["tokens"] for domain, entry in plan["domains"].items()}
    assert measured.total() == 21_011
    assert plan["domains"]["web"]["epochs"] > 2


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[-1]], ids=str)
def test_files_and_their_order_decide_nothing_whatever_the_options(road, tmp_path, options):
    made = []
    for shards in (1, 5):
        other = Road(tmp_path / str(shards), in_shards(some_documents(), shards, seed=shards), tokenizer=road.tokenizer)
        other.encode()
        made.append(contents(packed(other, other.root, {"window_tokens": 9_000} | options)[1]))
    assert made[0] == made[1]
    assert len(made[0]) == 3 * 3 + 1


def rows(corpus):
    """The segments of each sequence: (domain, tokens)."""
    dataset = PackedDataset(corpus.root)
    return [dataset.segments(row) for row in range(len(dataset))]


def test_concatenated_documents_leave_no_place_but_at_a_windows_end(road, tmp_path):
    _, corpus = packed(road, tmp_path, {"mode": "concat_chunk", "window_tokens": 6_000})
    facts = corpus.manifest.facts
    assert len(corpus.manifest.shards) == -(-facts["tokens"] // 6_000)
    padded = [segments for segments in rows(corpus) if segments["domain"][-1] == PADDING]
    assert 0 < len(padded) <= len(corpus.manifest.shards)
    cut = sum(entry["cut_into_pieces"] for entry in facts["by_domain"].values())
    assert cut > sum(entry["longer_than_a_sequence"] for entry in facts["by_domain"].values())


def test_padded_sequences_hold_a_document_each(road, tmp_path):
    _, corpus = packed(road, tmp_path, {"mode": "pad"})
    assert all(np.count_nonzero(segments["domain"] != PADDING) == 1 for segments in rows(corpus))
    assert corpus.manifest.facts["pieces_by_sequence"] == [len(rows(corpus))]


def test_shortest_pack_first_holds_at_most_its_depth(road, tmp_path):
    _, corpus = packed(road, tmp_path, {"mode": "spfhp", "depth": 2})
    held = Counter(int(np.count_nonzero(segments["domain"] != PADDING)) for segments in rows(corpus))
    assert set(held) == {1, 2}
    assert corpus.manifest.facts["pieces_by_sequence"] == [held[1], held[2]]


@pytest.mark.parametrize("mode", ["best_fit", "concat_chunk", "spfhp"])
def test_a_sequence_holds_documents_of_one_domain_where_that_is_asked(road, tmp_path, mode):
    _, corpus = packed(road, tmp_path, {"mode": mode, "one_domain": True})
    assert all(len(set(segments["domain"].tolist()) - {PADDING}) == 1 for segments in rows(corpus))
    assert corpus.manifest.facts["fill"] > 0.95


def test_a_document_is_never_split_where_that_is_asked(road, tmp_path):
    plan, corpus = packed(road, tmp_path, {"split": False})
    assert all(len(pieces) == 1 for pieces in uses(corpus).values())
    dropped = Counter()
    for entry in corpus.manifest.ledger.values():
        dropped.update(entry["dropped"])
    assert dropped["longer_than_a_sequence"] > 10
    assert sum(entry["documents"] for entry in plan["domains"].values()) == 300 - dropped["longer_than_a_sequence"]


def test_no_piece_but_the_one_the_budget_cuts_is_shorter_than_the_least_rest(road, tmp_path):
    _, corpus = packed(road, tmp_path, {"least_rest": 30})
    later = [len(piece) for _, _, start, piece, _ in segments(corpus) if start]
    assert min(later) >= 30
    assert sum(reasons["short_rest"]["documents"] for reasons in corpus.manifest.facts["left_out"].values()) > 10


def test_a_plan_that_counts_otherwise_is_refused_with_what_it_must_say(road, tmp_path):
    road.root = tmp_path
    road.plan()
    with pytest.raises(DataError, match=r"this packing by {'bos': True, .*: set `packing` of mixture\.plan"):
        road.pack(sequence_length=LENGTH, **MARKED)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"least_rest": 9}, "the plan counts documents by"),
        ({"bos": "<s>"}, "is trained with <\\|a\\|>, <\\|b\\|>: name it"),
    ],
)
def test_steps_that_do_not_fit_are_refused_before_anything_runs(params, said):
    packing = PackParams(**params)
    counted = PackParams(bos=packing.bos).rule()._asdict()
    inputs = {"plan": (1, {"packing": counted}), "tokenizer": (1, {"special_tokens": ("<|a|>", "<|b|>")})}
    with pytest.raises(PipelineError, match=said):
        PACK.agree(packing, inputs, {})


def test_a_bos_that_the_tokenizer_has_not_is_refused_before_anything_runs(road):
    with pytest.raises(ConfigError, match=r"has no token '<s>'.* It adds: <\|endoftext\|>, <\|bos\|>"):
        PACK.check(PackParams(bos="<s>"), {"tokenizer": road.tokenizer})


def test_a_tokenizer_that_did_not_make_the_tokens_is_refused_and_one_with_the_same_bytes_is_not(road, tmp_path):
    _, corpus = packed(road, tmp_path, MARKED)
    roles = {"tokens": road.tokens, "plan": road.plan_corpus}
    params = PackParams(sequence_length=LENGTH, **MARKED)
    trained, other = open_corpus(road.tokenizer.parents[1]), tmp_path / "other.json"
    assert contents(run_stage(tmp_path / "again", PACK, params, tokenizer=trained, **roles)) == contents(corpus)
    other.write_text(road.tokenizer.read_text().replace(BOS_NAME, "<|pad|>").replace("<|endoftext|>", BOS_NAME))
    with pytest.raises(
        DataError, match=r"the tokenizer wired is [0-9a-f]{12}, the tokens in .* were made with [0-9a-f]"
    ):
        run_stage(tmp_path / "wrong", PACK, params, tokenizer=other, **roles)


def test_a_text_that_encodes_to_bos_is_refused(road, tmp_path):
    word = next(tokens for tokens in token_lists(road.tokens) if len(tokens) > 5)[5]
    vocabulary = json.loads(road.tokenizer.read_text())["model"]["vocab"]
    name = next(token for token, number in vocabulary.items() if number == word)
    with pytest.raises(StageError, match=r"document [0-9a-f]{32}: its text encodes to the BOS"):
        packed(road, tmp_path, {"bos": name})


def test_windows_that_are_too_many_are_refused(road, tmp_path):
    with pytest.raises(DataError, match=rf"windows of 8; {MAX_PARTITIONS:,} are the most: set window_tokens to"):
        packed(road, tmp_path, {"window_tokens": 8})


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"depth": 3}, "depth"),
        ({"mode": "concat_chunk", "least_rest": 3}, "concat_chunk cuts"),
        ({"mode": "pad", "one_domain": True}, "without effect"),
        ({"split": False, "least_rest": 3}, "no document has a rest"),
        ({"least_rest": 3000}, "a rest is shorter"),
    ],
)
def test_an_option_without_effect_is_refused(options, why):
    with pytest.raises(ValidationError, match=why):
        PackParams(**options)


def weighed(road, root, change=lambda lists: None):
    """A corpus of weights beside the tokens: of token t of a document, t / 8; dropped rows have none."""
    lists = [[t / 8 for t in range(len(tokens))] for tokens in token_lists(road.tokens)]
    change(lists)
    sizes = [shard.rows for shard in road.tokens.manifest.shards]
    ends = np.cumsum(sizes).tolist()
    parts = [lists[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return write_corpus(root / "weights", [pa.table({"weights": pa.array(p, pa.list_(pa.float32()))}) for p in parts])


def with_weights(road, root, options, weights):
    road.root = root
    road.plan(packing=rule_of(options)._asdict())
    roles = {"tokens": road.tokens, "plan": road.plan_corpus, "tokenizer": road.tokenizer, "weights": weights}
    return run_stage(root / "weighed", PACK, PackParams(sequence_length=LENGTH, **options), **roles)


@pytest.mark.parametrize("options", [{}, MARKED], ids=str)
def test_every_token_keeps_its_weight_and_what_stands_between_documents_weighs_one(road, tmp_path, options):
    corpus = with_weights(road, tmp_path, options, weighed(road, tmp_path))
    lengths = {row["doc_id"]: row["length"] for row in read(road.tokens).to_pylist()}
    dataset, lead = PackedDataset(corpus.root), len(options)
    for row in range(len(dataset)):
        found, begin = dataset.token_weights(np.array([row]))[0], 0
        for segment in dataset.segments(row):
            end, start = int(segment["end"]), int(segment["start"])
            if segment["domain"] == PADDING:
                expected = [0.0] * (end - begin)
            else:
                size = lengths[segment["doc_id"].tobytes()]
                whole = [*([1.0] * lead), *(t / 8 for t in range(size)), 1.0]
                expected = whole[start : start + end - begin]
            assert found[begin:end].tolist() == expected
            begin = end


@pytest.mark.parametrize("role", ["buckets", "weights"])
def test_equal_documents_that_a_step_tells_apart_are_packed_alike_wherever_they_lie(road, tmp_path, role):
    copies = [("one text that many sites have", "web")] * 30
    numbered = list(enumerate(copies + some_documents(60)))
    packed = []
    for shards in (in_shards(numbered, 1), in_shards(numbered, 4, seed=1)):
        root = tmp_path / str(len(shards))
        other = Road(root, [[row for _, row in shard] for shard in shards], tokenizer=road.tokenizer)
        other.encode()
        told = write_corpus(root / role, told_of(role, shards, token_lists(other.tokens)))
        other.mask = {"buckets": told} if role == "buckets" else {}
        other.plan(budget_tokens=900)
        roles = {"tokens": other.tokens, "plan": other.plan_corpus, role: told}
        packed.append(contents(run_stage(root / "sequences", PACK, PackParams(sequence_length=LENGTH), **roles)))
    assert packed[0] == packed[1]


def told_of(role, shards, tokens):
    """Tables beside shards of (number, row): a bucket or weights by the number, so that of copies each has its own."""
    lists, tables = iter(tokens), []
    for shard in shards:
        numbers = [number for number, _ in shard]
        buckets = pa.array([("high", "low")[number % 2] if number < 30 else None for number in numbers], pa.string())
        weights = pa.array([[number / 8] * len(next(lists)) for number in numbers], pa.list_(pa.float32()))
        tables.append(pa.table({"bucket": buckets} if role == "buckets" else {"weights": weights}))
    return tables


def spoil(lists, kind):
    row = next(i for i, weights in enumerate(lists) if len(weights) > 3)
    if kind == "missing":
        lists[row] = None
    elif kind == "short":
        lists[row] = lists[row][:-1]
    else:
        lists[row][2] = {"null": None, "negative": -1.0, "infinite": float("inf"), "large": 1e6}[kind]


@pytest.mark.parametrize("kind", ["missing", "short", "null", "negative", "infinite", "large"])
def test_weights_that_do_not_fit_the_tokens_are_refused_by_document(road, tmp_path, kind):
    weights = weighed(road, tmp_path, lambda lists: spoil(lists, kind))
    why = "weights for its" if kind in ("missing", "short") else "the weight of token 2 is"
    with pytest.raises(StageError, match=rf"document [0-9a-f]{{32}}:? .*{why}"):
        with_weights(road, tmp_path, {}, weights)
