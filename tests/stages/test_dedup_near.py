"""Near duplicates: bands, pairs, clusters and the greedy choice of what stays."""

import datasketch
import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.dedup import bands
from pipeline.dedup.cluster import CLUSTER, ClusterParams
from pipeline.dedup.exact import EXACT, ExactParams
from pipeline.dedup.keep import KEEP, KeepParams
from pipeline.dedup.match import MATCH, MatchParams
from pipeline.dedup.sign import SIGN, SignParams
from tests.conftest import read, run_stage, write_documents
from tests.kernels import reference_dedup as twin
from tests.stages.dedup import answers, edited, layouts, near, prose, several


def shingle_sets(texts):
    return {text: set(twin.shingles(text, 5)) for text in texts}


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


def test_clusters_are_named_by_their_best_document_and_counted(tmp_path):
    rows = several()
    documents = write_documents(tmp_path / "documents", [rows])
    found = answers(documents, near(tmp_path, documents))
    for row in found.values():
        members = [other for (other, _), its in found.items() if its["cluster"] == row["cluster"] and row["cluster"]]
        assert row["cluster_size"] == max(len(members), 1)
        if row["cluster"]:
            assert len(row["cluster"].encode()) == max(len(member.encode()) for member in members)
        else:
            assert row["keep"]


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
    longest = sorted(
        (2, 3, 4), key=lambda i: (-len(rows[i][0]), [int.from_bytes(ids[i][k : k + 8], "little") for k in (0, 8)])
    )
    assert len(rows[longest[0]][0]) == max(len(text) for text, _ in rows)
    mask = read(near(tmp_path, documents))
    assert [i for i, kept in enumerate(mask["keep"].to_pylist()) if kept] == longest[:1]


def test_the_preferred_source_stays_although_it_is_shorter(tmp_path):
    text = prose(1)
    rows = [(text + " and more", "web"), (text, "docs"), (text + " or", "books")]
    documents = write_documents(tmp_path / "documents", [rows])
    for index, order in enumerate((("docs",), ("books", "docs"), ("web",))):
        params = KeepParams(keep="source_priority", priority=order)
        found = answers(documents, near(tmp_path / str(index), documents, keep=params))
        assert [domain for (_, domain), row in found.items() if row["keep"]] == [order[0]]


def test_a_chain_of_small_changes_does_not_take_its_far_end_along(tmp_path):
    chain = [prose(1, 100)]
    for step in range(1, 9):
        words = chain[-1].split()
        chain.append(" ".join([*words[4:], *(f"new{step}x{i}" for i in range(4))]))
    documents = write_documents(tmp_path / "documents", [[(text, "web") for text in chain]])
    found = answers(documents, near(tmp_path, documents))
    assert len({row["cluster"] for row in found.values()}) == 1
    sets = shingle_sets(chain)
    kept = [text for (text, _), row in found.items() if row["keep"]]
    assert len(kept) > 1
    assert all(max(twin.jaccard(sets[text], sets[k]) for k in kept) >= 0.8 for text in chain)


@pytest.mark.parametrize("threshold", [0.5, 0.95])
def test_the_threshold_decides(tmp_path, threshold):
    text = prose(3, 200)
    rows = [(text + " longest", "web"), *((edited(text, i, i), "web") for i in range(1, 12))]
    documents = write_documents(tmp_path / "documents", [rows])
    found = answers(documents, near(tmp_path, documents, SignParams(rows=2), KeepParams(threshold=threshold)))
    sets = shingle_sets(text for text, _ in rows)
    names = sorted(found, key=lambda key: -len(key[0]))
    kept = [text for text, domain in names if found[text, domain]["keep"]]
    for text, row in ((key[0], row) for key, row in found.items()):
        likest = max([twin.jaccard(sets[text], sets[k]) for k in kept if k != text], default=0)
        assert (likest >= threshold) == (not row["keep"])


def test_what_was_dropped_earlier_has_no_bands_and_keeps_its_reason(tmp_path):
    text = prose(1)
    rows = [(text + " x", "web"), (text + "  x", "docs"), (text, "web"), (prose(2), "web")]
    documents = write_documents(tmp_path / "documents", [rows[:2], rows[2:]])
    earlier = run_stage(tmp_path / "exact", EXACT, ExactParams(priority=("docs",)), documents=documents)
    mask = read(near(tmp_path, documents, mask=earlier))
    assert mask["keep"].to_pylist() == [False, True, False, True]
    assert mask["reason"].to_pylist() == ["exact_duplicate", None, "near_duplicate", None]
    assert mask["cluster_size"].to_pylist() == [0, 2, 2, 1]


def test_a_document_that_was_dropped_after_it_was_signed_keeps_nothing_out(tmp_path):
    text = prose(1)
    rows = [(text + " x", "web"), (text + "  x", "docs"), (text, "web"), (text[:-6], "web")]
    documents = write_documents(tmp_path / "documents", [rows])
    bands = run_stage(tmp_path / "sign", SIGN, SignParams(), documents=documents)
    pairs = run_stage(tmp_path / "match", MATCH, MatchParams(), bands=bands)
    clusters = run_stage(tmp_path / "cluster", CLUSTER, ClusterParams(), bands=bands, pairs=pairs)
    earlier = run_stage(tmp_path / "exact", EXACT, ExactParams(priority=("docs",)), documents=documents)
    inputs = {"documents": documents, "bands": bands, "clusters": clusters, "mask": earlier}
    mask = read(run_stage(tmp_path / "keep", KEEP, KeepParams(), **inputs))
    assert mask["keep"].to_pylist() == [False, True, False, False]
    assert mask["keeper"].to_pylist()[2] == read(documents)["doc_id"][1].as_py()
    assert mask["cluster_size"].to_pylist() == [0, 3, 3, 3]


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


def test_clusters_are_the_components_of_shared_bands(tmp_path):
    rows = several()
    documents = write_documents(tmp_path / "documents", [rows[:20], rows[20:21], rows[21:]])
    signed = run_stage(tmp_path / "sign", SIGN, SignParams(bands=30, rows=2), documents=documents)
    pairs = run_stage(tmp_path / "match", MATCH, MatchParams(), bands=signed)
    clusters = run_stage(tmp_path / "cluster", CLUSTER, ClusterParams(), bands=signed, pairs=pairs)
    table = read(signed)
    keys, valid = bands.matrix(table["bands"]), table["bands"].is_valid().to_pylist()
    edges = [(i, j) for i in range(len(rows)) for j in range(i) if valid[i] and valid[j] and (keys[i] == keys[j]).any()]
    addresses = [shard << 32 | row for shard, n in enumerate((20, 1, len(rows) - 21)) for row in range(n)]
    expected = {addresses[node]: addresses[root] for node, root in twin.components(edges).items()}
    assert read(clusters)["cluster"].to_pylist() == [expected.get(address) for address in addresses]
    facts = clusters.manifest.facts
    assert facts == {"clusters": len(set(expected.values())), "documents_in_clusters": len(expected)}
    assert (
        pairs.manifest.facts["pairs"]
        == pairs.manifest.rows
        == sum(1 for _ in zip(*(read(pairs)[side].to_pylist() for side in "ab"), strict=True))
    )


def test_a_corpus_without_near_duplicates_passes_whole(tmp_path):
    documents = write_documents(tmp_path / "documents", [[(prose(i), "web") for i in range(5)], []])
    mask = near(tmp_path, documents)
    assert all(read(mask)["keep"].to_pylist())
    assert mask.manifest.facts == {"similarity": {}}


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


def test_a_priority_is_needed_to_keep_by_source():
    with pytest.raises(ValueError, match="needs `priority`"):
        KeepParams(keep="source_priority")
