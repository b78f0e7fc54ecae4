"""What was taken from whom: ledger and facts add up, and a source may lose only so much."""

import json
from collections import Counter

import pyarrow as pa
import pytest

from pipeline.dedup import losses
from pipeline.dedup.exact import EXACT, ExactParams
from pipeline.dedup.keep import KEEP, KeepParams
from pipeline.dedup.verify import VERIFY, VerifyParams
from pipeline.errors import DataError
from pipeline.ledger import total
from pipeline.schemas import DOC_ID
from tests.conftest import read, run_stage, write_documents
from tests.stages.dedup import candidates, near, prose, several
from tests.stages.masks import masked

SHARDS = (20, 1, 200)


def cut(rows):
    return [rows[sum(SHARDS[:i]) : sum(SHARDS[: i + 1])] for i in range(len(SHARDS))]


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """Return documents, the exact and the near mask over it, and their rows side by side."""
    root = tmp_path_factory.mktemp("losses")
    rows = several() + [(text + " ", "books") for text, _ in several()[::3]] + several()[::7]
    documents = write_documents(root / "documents", cut(rows))
    exact = run_stage(root / "exact", EXACT, ExactParams(), documents=documents)
    mask = near(root, documents, mask=exact, exact=exact)
    return documents, exact, mask


def rows_of(documents, mask):
    """Return the rows of documents and mask together, each with its place."""
    places = [(s.name, row) for s in documents.manifest.shards for row in range(s.rows)]
    both = zip(read(documents).to_pylist(), read(mask).to_pylist(), places, strict=True)
    return [document | decision | {"shard": shard, "row": row} for document, decision, (shard, row) in both]


def taken(rows, reason):
    """Return the rows dropped for a reason, each with its keeper's row."""
    known = {row["doc_id"]: row for row in rows if row["keep"]}
    return [(row, known[row["keeper"]]) for row in rows if row["reason"] == reason]


@pytest.mark.parametrize(("which", "reason"), [(1, "exact_duplicate"), (2, "near_duplicate")])
def test_sources_count_what_each_lost_to_each(road, which, reason):
    documents, mask = road[0], road[which]
    pairs = taken(rows_of(documents, mask), reason)
    documents_, sizes = Counter(), Counter()
    for row, keeper in pairs:
        documents_[row["domain"], keeper["domain"]] += 1
        sizes[row["domain"], keeper["domain"]] += row["bytes"]
    found = mask.manifest.facts["sources"]
    flat = {(a, b): (c["documents"], c["bytes"]) for a, others in found.items() for b, c in others.items()}
    assert flat == {key: (n, sizes[key]) for key, n in documents_.items()}
    assert len(flat) >= 3
    for domain, books in mask.manifest.ledger.items():
        lost = found.get(domain, {}).values()
        assert books.get("dropped", {}).get(reason, 0) == sum(c["documents"] for c in lost)
        assert books.get("dropped_bytes", {}).get(reason, 0) == sum(c["bytes"] for c in lost)


@pytest.mark.parametrize(("which", "reason"), [(1, "exact_duplicate"), (2, "near_duplicate")])
def test_examples_name_a_dropped_document_and_its_keeper_for_each_pair_of_sources(road, which, reason):
    documents, mask = road[0], road[which]
    pairs = taken(rows_of(documents, mask), reason)
    examples = mask.manifest.facts["examples"]
    assert {(e["domain"], e["keeper_domain"]) for e in examples} == {(r["domain"], k["domain"]) for r, k in pairs}
    assert len(examples) == len({(e["domain"], e["keeper_domain"]) for e in examples})
    places = {(row["shard"], row["row"]): (row, keeper) for row, keeper in pairs}
    for example in examples:
        row, keeper = places[example["shard"], example["row"]]
        assert (row["doc_id"].hex(), keeper["doc_id"].hex()) == (example["doc_id"], example["keeper"])
        assert (row["domain"], keeper["domain"]) == (example["domain"], example["keeper_domain"])
        assert (keeper["shard"], keeper["row"]) == (example["keeper_shard"], example["keeper_row"])
        assert example["similarity"] == row.get("similarity", 1.0)
        same = [r["doc_id"] for r, k in pairs if (r["domain"], k["domain"]) == (row["domain"], keeper["domain"])]
        assert row["doc_id"] == min(same)


def test_clusters_and_similarities_are_counted(road):
    documents, _, mask = road
    rows, facts = rows_of(documents, mask), mask.manifest.facts
    clusters = Counter(row["cluster"] for row in rows if row["cluster"])
    assert facts["clusters"] == len(clusters)
    assert facts["documents_in_clusters"] == sum(clusters.values())
    assert sum(facts["cluster_sizes"].values()) == len(clusters)
    assert facts["cluster_sizes"] == Counter("2" if n == 2 else "3 to 10" for n in clusters.values())
    assert all(row["cluster_size"] == clusters[row["cluster"]] for row in rows if row["cluster"])
    near_ = [row for row in rows if row["reason"] == "near_duplicate"]
    assert facts["similarity"] == Counter(f"{int(row['similarity'] * 20 + 1e-6) / 20:.2f}" for row in near_)
    assert sum(facts["similarity"].values()) == total(mask.manifest.ledger)["dropped"]["near_duplicate"]


def test_what_a_source_had_and_lost_counts_both_kinds_of_copies(road):
    documents, exact, mask = road
    for corpus, reasons in ((exact, {"exact_duplicate"}), (mask, {"exact_duplicate", "near_duplicate"})):
        rows = rows_of(documents, corpus)
        had, lost = Counter(r["domain"] for r in rows), Counter(r["domain"] for r in rows if r["reason"] in reasons)
        assert corpus.manifest.facts["lost"] == {d: {"documents": n, "dropped": lost[d]} for d, n in had.items()}


def test_what_was_dropped_for_other_reasons_is_not_counted_as_had(tmp_path):
    documents = write_documents(tmp_path / "documents", [[("a", "web"), ("b", "web"), ("a ", "web"), ("c", "docs")]])
    mask = masked(tmp_path / "mask", documents, [[True, False, True, False]])
    exact = run_stage(tmp_path / "exact", EXACT, ExactParams(), documents=documents, mask=mask)
    assert exact.manifest.facts["lost"] == {"web": {"documents": 2, "dropped": 1}}


@pytest.mark.parametrize("name", ["a\tb", "", "ä / ö", "a\nb", '"', "a\x00"])
def test_a_source_may_have_any_name(tmp_path, name):
    documents = write_documents(
        tmp_path / "documents", [[(prose(1), name), (prose(1) + " ", "web"), (prose(1), "web")]]
    )
    exact = run_stage(tmp_path / "exact", EXACT, ExactParams(), documents=documents)
    mask = near(tmp_path, documents)
    for corpus in (exact, mask):
        facts = corpus.manifest.facts
        flat = {(domain, other) for domain, others in facts["sources"].items() for other in others}
        assert {(e["domain"], e["keeper_domain"]) for e in facts["examples"]} == flat
        assert name in {end for pair in flat for end in pair}


def test_rows_of_one_document_are_counted_as_one_cluster(tmp_path):
    """Without `dedup.exact` before it, rows of one text and domain have one doc_id."""
    rows = [(prose(1), "web"), (prose(1), "web"), (prose(1), "web"), (prose(2), "web"), (prose(2), "docs")]
    documents = write_documents(tmp_path / "documents", [rows])
    mask = near(tmp_path, documents)
    assert sum(read(mask)["keep"].to_pylist()) == 2
    assert read(mask)["cluster_size"].to_pylist() == [3, 3, 3, 2, 2]
    facts = mask.manifest.facts
    assert (facts["clusters"], facts["documents_in_clusters"]) == (2, 5)
    assert facts["cluster_sizes"] == {"2": 1, "3 to 10": 1}


@pytest.mark.parametrize(("which", "stage", "params"), [(1, EXACT, ExactParams), (2, KEEP, KeepParams)])
def test_a_source_that_lost_more_than_allowed_stops_the_build_by_name(road, which, stage, params):
    corpus = road[which]
    shares = {d: b["dropped"] / b["documents"] for d, b in corpus.manifest.facts["lost"].items()}
    stage.gate(params(), corpus)
    stage.gate(params(source_cap=max(shares.values())), corpus)
    worst = max(shares, key=shares.get)
    limit = sorted(shares.values())[-2]
    with pytest.raises(DataError) as error:
        stage.gate(params(source_cap=limit), corpus)
    books, said = corpus.manifest.facts["lost"][worst], str(error.value)
    assert f"  {worst}: {books['dropped']:,} of {books['documents']:,} documents ({shares[worst]:.1%})" in said
    assert f"{stage.name}: deduplication may take {limit:.1%} of a source (dedup.source_cap)" in said
    assert not any(f"  {other}:" in said for other in shares if other != worst)
    for keeper, counts in corpus.manifest.facts["sources"].get(worst, {}).items():
        assert f"{keeper} ({counts['documents']:,})" in said
    with pytest.raises(DataError) as error:
        stage.gate(params(source_cap=1e-9), corpus)
    assert all(f"  {name}: " in str(error.value) for name, share in shares.items() if share)


def test_exactly_the_share_that_is_allowed_passes(road):
    _, exact, _ = road
    for dropped in range(1, 100):
        facts = {"lost": {"web": {"documents": 100, "dropped": dropped}}}
        corpus = exact.model_copy(update={"manifest": exact.manifest.model_copy(update={"facts": facts})})
        EXACT.gate(ExactParams(source_cap=dropped / 100), corpus)
        with pytest.raises(DataError, match=f"{dropped} of 100 documents"):
            EXACT.gate(ExactParams(source_cap=dropped / 100 - 0.001), corpus)


def test_the_cap_of_a_source_is_no_part_of_what_a_mask_is():
    for params in (ExactParams, KeepParams):
        assert params(source_cap=0.1).model_dump() == params().model_dump()


def test_pairs_compared_and_pairs_alike_are_counted(tmp_path):
    documents = write_documents(tmp_path / "documents", cut(several()))
    _, found = candidates(tmp_path, documents)
    for number, threshold in enumerate((0.5, 0.8, 0.95)):
        params = VerifyParams(threshold=threshold)
        similar = run_stage(tmp_path / str(number), VERIFY, params, documents=documents, candidates=found)
        entries = [e for row in read(similar)["similar"].to_pylist() for e in row or ()]
        assert similar.manifest.facts == {"pairs_compared": found.manifest.facts["pairs"], "pairs_alike": len(entries)}
        assert all(e["similarity"] >= threshold for e in entries)


def test_many_equal_rows_make_one_example():
    # What a task counted travels in its commit record, which must not grow with the copies.
    number = 500
    ids = pa.array([b"i" * 16] * number, DOC_ID)
    columns = {"doc_id": ids, "keeper": ids, "similarity": [1.0] * number, "bytes": [3] * number}
    places = {
        "address": pa.array(range(1, number + 1), pa.uint64()),
        "keeper_address": pa.array([0] * number, pa.uint64()),
    }
    domains = {"domain": ["web"] * number, "keeper_domain": ["web"] * 250 + ["docs"] * 250}
    found = losses.counted(pa.table(columns | places | domains))
    assert found["sources"] == {
        "web": {"web": {"documents": 250, "bytes": 750}, "docs": {"documents": 250, "bytes": 750}}
    }
    assert [json.loads(name)[4] for name in found["examples"]] == [1, 251]
