"""Near duplicates on the whole road: bands, candidates, verified pairs and the greedy choice of what stays."""

import random

import datasketch
import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.dedup import bands
from pipeline.dedup.exact import EXACT, ExactParams
from pipeline.dedup.keep import KEEP, KeepParams
from pipeline.dedup.match import MatchParams
from pipeline.dedup.sign import SIGN, SignParams
from pipeline.dedup.verify import VERIFY, VerifyParams
from pipeline.errors import StageError
from tests.conftest import read, run_stage, write_documents
from tests.kernels import reference_dedup as twin
from tests.stages.dedup import answers, candidates, edited, layouts, near, numbers, prose, several
from tests.stages.masks import masked

CLOSE = SignParams(bands=30, rows=2, ngram=2)


def shingle_sets(texts, ngram=5):
    return {text: set(twin.shingles(text, ngram)) for text in texts}


def crowd(seed, count=60):
    """Return texts that are like each other in many and tangled ways: mixtures of a few others, each of one kind."""
    generator = random.Random(seed)
    parents = [[f"p{k}w{generator.randrange(40)}" for _ in range(24)] for k in range(4)]
    rows = []
    for number in range(count):
        words = list(parents[number % 4])
        for place in generator.sample(range(len(words)), generator.randrange(8)):
            words[place] = generator.choice(parents[(number + 1) % 4])
        rows.append(
            (" ".join(words[generator.randrange(3) :]) + "." * generator.randrange(3), ("web", "docs")[number % 2])
        )
    return list(dict.fromkeys(rows))


def expected_mask(documents, signed, run, ngram, threshold, containment=None):
    """Return the mask by sets and loops: pairs that share a band, exact similarity, the keeper's order."""
    rows = read(documents).to_pylist()
    texts, ids = [row["text"] for row in rows], [row["doc_id"] for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (-rows[i]["bytes"], *numbers(ids[i])))
    keys, valid = bands.matrix(read(signed)["bands"]), read(signed)["bands"].is_valid().to_pylist()
    buckets = {}
    for i in order:
        for key in set(keys[i].tolist()) if valid[i] else ():
            buckets.setdefault(key, []).append(i)
    sets = [set(twin.shingles(text, ngram)) for text in texts]
    place = {i: p for p, i in enumerate(order)}
    like, contained = {}, {}
    for better, worse in sorted(twin.pairs(list(buckets.values()), run), key=lambda pair: place[pair[0]]):
        similarity = twin.jaccard(sets[better], sets[worse])
        contained[worse, better] = len(sets[better] & sets[worse]) / len(sets[worse])
        if similarity >= threshold or (containment and contained[worse, better] >= containment):
            like.setdefault(worse, []).append((better, similarity))
    chosen = twin.greedy(order, like)
    members = twin.components([(worse, other) for worse, others in like.items() for other, _ in others])
    mask = []
    for i in range(len(rows)):
        group = [j for j in members if members[j] == members[i]] if i in members else []
        keeper, similarity = chosen[i] or (None, None)
        row = {"keep": chosen[i] is None, "reason": None if chosen[i] is None else "near_duplicate"}
        row |= {"copies": 1, "supersedes": None}
        row |= {"keeper": None if keeper is None else ids[keeper], "cluster_size": max(len(group), 1)}
        row["cluster"] = min((ids[j] for j in group), key=numbers) if group else None
        row["similarity"] = None if similarity is None else float(np.float32(similarity))
        row["containment"] = None if keeper is None else float(np.float32(contained[i, keeper]))
        mask.append(row)
    return mask


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("threshold", "containment"), [(0.5, None), (0.75, None), (0.8, 0.8)])
def test_decisions_are_those_of_sets_and_loops(tmp_path, seed, threshold, containment):
    rows = crowd(seed) if seed else several()
    documents = write_documents(tmp_path / "documents", [rows[:25], rows[25:26], rows[26:]])
    verify = VerifyParams(threshold=threshold, containment=containment, ngram=2)
    mask = near(tmp_path, documents, CLOSE, MatchParams(run=256), verify)
    signed = run_stage(tmp_path / "again", SIGN, CLOSE, documents=documents)
    expected = expected_mask(documents, signed, 256, 2, threshold, containment)
    assert read(mask).to_pylist() == expected
    assert len({row["keep"] for row in expected}) == 2
    assert len({row["cluster_size"] for row in expected}) > 2


def test_decisions_with_hot_keys_are_those_of_sets_and_loops(tmp_path):
    rows = [row for seed in range(4) for row in crowd(seed)]
    documents = write_documents(tmp_path / "documents", [rows[:100], rows[100:]])
    mask = near(tmp_path, documents, CLOSE, MatchParams(run=4), VerifyParams(threshold=0.6, ngram=2))
    signed = run_stage(tmp_path / "again", SIGN, CLOSE, documents=documents)
    assert read(mask).to_pylist() == expected_mask(documents, signed, 4, 2, 0.6)


def test_every_dropped_document_has_a_kept_one_as_like_as_it_says(tmp_path):
    rows = several()
    documents = write_documents(tmp_path / "documents", [rows[:20], rows[20:]])
    found = answers(documents, near(tmp_path, documents))
    sets = shingle_sets(text for text, _ in found)
    kept = {text for (text, _), row in found.items() if row["keep"]}
    dropped = {text: row for (text, _), row in found.items() if not row["keep"]}
    assert dropped
    for text, row in dropped.items():
        best = max(twin.jaccard(sets[text], sets[other]) for other in kept)
        assert row["reason"] == "near_duplicate"
        assert row["keeper"] in kept
        assert twin.jaccard(sets[text], sets[row["keeper"]]) == best >= 0.8
        assert row["similarity"] == np.float32(best)
    for text in kept:
        assert all(twin.jaccard(sets[text], sets[other]) < 0.8 for other in kept - {text})


@pytest.mark.parametrize("layout", range(4))
def test_order_shards_and_other_documents_change_no_decision(tmp_path, layout):
    rows = several()
    whole = write_documents(tmp_path / "a", [rows])
    expected = answers(whole, near(tmp_path / "whole", whole))
    other = write_documents(tmp_path / "b", layouts(rows)[layout])
    assert answers(other, near(tmp_path / "other", other)) == expected
    more = write_documents(
        tmp_path / "c", [[(prose(5000 + i), "news") for i in range(9)], rows, [("few words", "news")]]
    )
    found = answers(more, near(tmp_path / "more", more))
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("layout", range(1, 4))
def test_order_and_shards_change_no_decision_about_hot_keys(tmp_path, layout):
    rows = [row for seed in range(3) for row in crowd(seed)]
    params = CLOSE, MatchParams(run=4), VerifyParams(threshold=0.6, ngram=2)
    found = []
    for number, shards in enumerate((layouts(rows)[0], layouts(rows)[layout])):
        documents = write_documents(tmp_path / f"documents{number}", shards)
        found.append(answers(documents, near(tmp_path / str(number), documents, *params)))
    assert found[0] == found[1]


def test_a_text_of_no_or_few_words_is_not_dropped_for_another(tmp_path):
    rows = [
        ("...", "web"),
        ("!?", "web"),
        ("one", "web"),
        ("two", "web"),
        ("one two", "web"),
        ("One, two three!", "web"),
    ]
    documents = write_documents(tmp_path / "documents", [rows])
    mask = read(near(tmp_path, documents))
    assert all(mask["keep"].to_pylist())
    assert mask["cluster_size"].to_pylist() == [1] * len(rows)


def test_texts_of_few_and_the_same_words_are_near_duplicates(tmp_path):
    documents = write_documents(
        tmp_path / "documents", [[("One, two.", "web"), ("one two", "web"), ("two one", "web")]]
    )
    assert read(near(tmp_path, documents))["keep"].to_pylist() == [True, False, True]


def test_the_longest_stays_and_of_equals_the_smallest_id(tmp_path):
    text = prose(1)
    rows = [(text, "web"), (text + ".", "web"), (text + "..", "web"), (text + "!!", "web"), (edited(text, 1), "web")]
    documents = write_documents(tmp_path / "documents", [rows])
    ids = read(documents)["doc_id"].to_pylist()
    longest = sorted((2, 3, 4), key=lambda i: (-len(rows[i][0]), numbers(ids[i])))
    assert len(rows[longest[0]][0]) == max(len(text) for text, _ in rows)
    mask = read(near(tmp_path, documents))
    assert [i for i, kept in enumerate(mask["keep"].to_pylist()) if kept] == longest[:1]


def test_a_chain_of_small_changes_does_not_take_its_far_end_along(tmp_path):
    chain = [prose(1, 100)]
    for step in range(1, 9):
        words = chain[-1].split()
        chain.append(" ".join([*words[4:], *(f"new{step}x{i}" for i in range(4))]))
    documents = write_documents(tmp_path / "documents", [[(text, "web") for text in chain]])
    found = answers(documents, near(tmp_path, documents))
    assert len({row["cluster"] for row in found.values()}) == 1
    assert {row["cluster_size"] for row in found.values()} == {len(chain)}
    sets = shingle_sets(chain)
    kept = [text for (text, _), row in found.items() if row["keep"]]
    assert len(kept) > 1
    assert all(max(twin.jaccard(sets[text], sets[k]) for k in kept) >= 0.8 for text in chain)


@pytest.mark.parametrize("threshold", [0.5, 0.95])
def test_the_threshold_decides(tmp_path, threshold):
    text = prose(3, 200)
    rows = [(text + " longest", "web"), *((edited(text, i, i), "web") for i in range(1, 12))]
    documents = write_documents(tmp_path / "documents", [rows])
    found = answers(documents, near(tmp_path, documents, SignParams(rows=2), verify=VerifyParams(threshold=threshold)))
    sets = shingle_sets(text for text, _ in rows)
    kept = [text for (text, _), row in found.items() if row["keep"]]
    for text, row in ((key[0], row) for key, row in found.items()):
        likest = max([twin.jaccard(sets[text], sets[k]) for k in kept if k != text], default=0)
        assert (likest >= threshold) == (not row["keep"])


def test_a_document_inside_of_a_longer_one_goes_if_containment_is_asked(tmp_path):
    text = prose(3, 200)
    rows = [(text, "web"), (" ".join(text.split()[:120]), "web"), (prose(4, 150), "web")]
    documents = write_documents(tmp_path / "documents", [rows])
    sign = SignParams(bands=60, rows=1)
    for number, (asked, kept) in enumerate({None: [True, True, True], 0.9: [True, False, True]}.items()):
        mask = read(near(tmp_path / str(number), documents, sign, verify=VerifyParams(containment=asked)))
        assert mask["keep"].to_pylist() == kept
    assert mask["containment"].to_pylist() == [None, 1.0, None]
    assert mask["similarity"][1].as_py() == np.float32(116 / 196)


def test_the_longer_one_is_not_taken_for_contained_in_the_shorter(tmp_path):
    text = prose(3, 200)
    rows = [(text, "web"), (" ".join(text.split()[:120]), "docs")]
    documents = write_documents(tmp_path / "documents", [rows])
    match = MatchParams(keep="source_priority", priority=("docs",))
    mask = near(tmp_path, documents, SignParams(bands=60, rows=1), match, VerifyParams(containment=0.9))
    assert read(mask)["keep"].to_pylist() == [True, True]


def test_what_was_dropped_earlier_has_no_bands_and_keeps_its_reason(tmp_path):
    text = prose(1)
    rows = [(text + " x", "web"), (text + "  x", "docs"), (text, "web"), (prose(2), "web")]
    documents = write_documents(tmp_path / "documents", [rows[:2], rows[2:]])
    params = ExactParams(keep="source_priority", priority=("docs",))
    earlier = run_stage(tmp_path / "exact", EXACT, params, documents=documents)
    mask = read(near(tmp_path, documents, mask=earlier))
    assert mask["keep"].to_pylist() == [False, True, False, True]
    assert mask["reason"].to_pylist() == ["exact_duplicate", None, "near_duplicate", None]
    assert mask["cluster_size"].to_pylist() == [0, 2, 2, 1]
    assert mask["cluster"].is_null().to_pylist() == [True, False, False, True]
    assert mask["keeper"].is_null().to_pylist() == [True, True, False, True], "the exact mask was not asked"
    assert mask["copies"].to_pylist() == [1, 1, 1, 1]


@pytest.mark.parametrize("roles", [("mask", "exact"), ("exact",)])
def test_exact_copies_keep_their_keeper_and_everyone_is_told_of_copies(tmp_path, roles):
    text = prose(1)
    rows = [(text + " x", "web"), (text + "  x", "docs"), (text, "web"), (" " + text, "web"), (prose(2), "web")]
    documents = write_documents(tmp_path / "documents", [rows[:2], rows[2:], []])
    exact = run_stage(tmp_path / "exact", EXACT, ExactParams(), documents=documents)
    other = run_stage(
        tmp_path / "other", EXACT, ExactParams(keep="source_priority", priority=("x",)), documents=documents
    )
    given = {"mask": exact if "mask" in roles else other, "exact": exact}
    mask, copied = read(near(tmp_path, documents, **given)), read(exact)
    assert mask["copies"].to_pylist() == copied["copies"].to_pylist() == [2, 2, 2, 2, 1]
    for row, earlier in zip(mask.to_pylist(), copied.to_pylist(), strict=True):
        if not earlier["keep"]:
            assert (row["keep"], row["reason"], row["keeper"]) == (False, "exact_duplicate", earlier["keeper"])
            assert (row["similarity"], row["containment"], row["cluster_size"], row["cluster"]) == (1.0, 1.0, 0, None)
    assert mask["reason"].to_pylist().count("near_duplicate") == 1
    assert mask["keep"].to_pylist().count(True) == 2


def test_a_document_dropped_after_the_pairs_were_found_is_refused(tmp_path):
    text = prose(1)
    rows = [(text + " x", "web"), (text + "  x", "docs"), (text, "web"), (text[:-6], "web")]
    documents = write_documents(tmp_path / "documents", [rows])
    _, found = candidates(tmp_path, documents)
    similar = run_stage(tmp_path / "similar", VERIFY, VerifyParams(), documents=documents, candidates=found)
    earlier = run_stage(tmp_path / "exact", EXACT, ExactParams(), documents=documents)
    with pytest.raises(StageError, match=r"1 of its documents were compared .* the same mask"):
        run_stage(tmp_path / "keep", KEEP, KeepParams(), documents=documents, similar=similar, mask=earlier)


def test_bands_are_null_without_words_and_meet_where_they_meet_in_datasketch(tmp_path):
    rows = several()
    documents = write_documents(tmp_path / "documents", [rows])
    params = SignParams(bands=10, rows=3, seed=5)
    table = read(run_stage(tmp_path / "sign", SIGN, params, documents=documents))
    index, sketches = datasketch.MinHashLSH(num_perm=30, params=(10, 3)), []
    for place, (text, _) in enumerate(rows):
        one = datasketch.MinHash(30, seed=5, scheme="affine32", hashfunc=lambda x: x)
        one.update_batch([twin.fold32(twin.shingle_hash(s)) for s in twin.shingles(text, 5)])
        sketches.append(one)
        index.insert(place, one)
    assert table["bands"].is_null().to_pylist() == [not twin.words(text) for text, _ in rows]
    assert table["shingles"].to_pylist() == [len(twin.shingles(text, 5)) for text, _ in rows]
    keys = bands.matrix(table["bands"])
    with_words = [i for i, (text, _) in enumerate(rows) if twin.words(text)]
    for i in with_words:
        assert {j for j in with_words if (keys[i] == keys[j]).any()} == set(index.query(sketches[i])) & set(with_words)


@pytest.mark.parametrize(("unit", "hashing"), [("byte", "native"), ("word", "datasketch")])
def test_the_unit_and_the_hashing_of_a_shingle_can_be_chosen(tmp_path, unit, hashing):
    documents = write_documents(tmp_path / "documents", [several()])
    params = SignParams(ngram=9, unit=unit, hashing=hashing)
    table = read(run_stage(tmp_path / "sign", SIGN, params, documents=documents))
    shingles = twin.byte_shingles if unit == "byte" else twin.shingles
    assert table["shingles"].to_pylist() == [len(shingles(text, 9)) for text, _ in several()]
    default = read(run_stage(tmp_path / "default", SIGN, SignParams(ngram=9), documents=documents))
    assert table["bands"].is_null() == default["bands"].is_null()
    assert table["bands"] != default["bands"]


@pytest.mark.parametrize(
    ("params", "remedy"),
    [
        ({"bands": 1024, "rows": 64}, "1,024 x 64 = 65,536 values a document, more than 4,096; 20 bands of 6 rows"),
        ({"unit": "byte", "ngram": 3}, "set ngram to 4 or more"),
        ({"unit": "line"}, "'word' or 'byte'"),
    ],
)
def test_bands_that_make_no_sense_are_refused_with_the_remedy(params, remedy):
    with pytest.raises(ValidationError, match=remedy):
        SignParams(**params)


NO_LOSS = {
    "clusters": 0,
    "documents_in_clusters": 0,
    "cluster_sizes": {},
    "superseded": 0,
    "similarity": {},
    "sources": {},
    "examples": [],
}


@pytest.mark.parametrize(
    "shards",
    [
        [],
        [[]],
        [[], []],
        [[("alone", "web")]],
        [[], [("alone", "web")], []],
        [[("...", "web")], [("", "web"), (" ", "web")]],
        [[(prose(i), "web") for i in range(5)], []],
    ],
)
def test_a_corpus_without_near_duplicates_passes_whole(tmp_path, shards):
    (tmp_path / "documents").mkdir()
    documents = write_documents(tmp_path / "documents", shards)
    mask = near(tmp_path, documents)
    assert mask.manifest.rows == sum(map(len, shards))
    if mask.manifest.rows:
        assert all(read(mask)["keep"].to_pylist())
        assert read(mask)["cluster_size"].to_pylist() == [1] * mask.manifest.rows
    assert {name: mask.manifest.facts[name] for name in NO_LOSS} == NO_LOSS


def test_everything_dropped_earlier_leaves_nothing_to_do(tmp_path):
    documents = write_documents(tmp_path / "documents", [[(prose(1), "web"), (prose(1) + ".", "web")]])
    mask = near(tmp_path, documents, mask=masked(tmp_path / "mask", documents, [[False, False]]))
    assert read(mask)["reason"].to_pylist() == ["by hand", "by hand"]
    assert read(mask)["cluster_size"].to_pylist() == [0, 0]


def same_words(number):
    return [(f"accept all cookies to read{'.' * (1 + i % 90)}{' ' * (i // 90)}", "web") for i in range(number)]


def test_one_hot_bucket_leaves_one_document(tmp_path):
    documents = write_documents(tmp_path / "documents", [same_words(9000)])
    mask = near(tmp_path, documents)
    assert sum(read(mask)["keep"].to_pylist()) == 1
    assert mask.manifest.facts["similarity"] == {"1.00": 8999}


@pytest.mark.slow
def test_a_hundred_thousand_documents_of_the_same_words_leave_one(tmp_path):
    documents = write_documents(tmp_path / "documents", [same_words(100_000)])
    assert sum(read(near(tmp_path, documents))["keep"].to_pylist()) == 1
