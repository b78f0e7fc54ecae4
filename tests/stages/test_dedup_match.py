"""Candidates: all pairs of a common key, a star of a hot one, the same in whatever pieces; and clusters by stars."""

import random

import numpy as np
import pyarrow as pa
import pytest

from pipeline import stage, store
from pipeline.dedup import bands, cluster, match
from pipeline.dedup.keep import KEEP, KeepParams
from pipeline.dedup.match import MATCH, MatchParams
from pipeline.dedup.sign import SignParams
from pipeline.dedup.verify import VERIFY, VerifyParams
from pipeline.execution.local import LocalRunner
from pipeline.kernels import lsh
from pipeline.stage import Step
from pipeline.tasks import Foreman
from tests.conftest import read, run_stage, write_documents
from tests.kernels import reference_dedup as twin
from tests.stages.dedup import candidates, edited, near, prose, several
from tests.stages.masks import masked

TINY = [1 << 10, 1 << 13, 1 << 16]


def boilerplate(count, own=6):
    """Return documents of one text and a few words of their own each: they share most bands."""
    text = prose(1)
    words = (" ".join(f"own{number}x{i}" for i in range(own)) for number in range(count))
    return [(f"{text} {w}" + "." * (number % 5), "web") for number, w in enumerate(words)]


def by_key(documents, signed):
    """Return key -> rows of the documents that share it, best first by length and id."""
    table = read(documents)
    ids = [int.from_bytes(i[:8], "little") for i in table["doc_id"].to_pylist()]
    sizes = table["bytes"].to_pylist()
    buckets = {}
    for row in sorted(range(len(ids)), key=lambda row: (-sizes[row], ids[row])):
        for key in bands.matrix(read(signed)["bands"])[row].tolist() if read(signed)["bands"][row].is_valid else ():
            buckets.setdefault(key, []).append(row)
    return {key: rows for key, rows in buckets.items() if len(rows) > 1}


def content(corpus):
    """Return all that a corpus consists of, but for its name."""
    return [path.read_bytes() for path in corpus.paths()], corpus.manifest.facts, corpus.manifest.ledger


@pytest.mark.parametrize("run", [4, 9, 256])
def test_candidates_are_the_pairs_of_common_keys_and_the_stars_of_hot_ones(tmp_path, run):
    rows = several() + boilerplate(40)
    documents = write_documents(tmp_path / "documents", [rows[:30], [], rows[30:]])
    signed, found = candidates(tmp_path, documents, SignParams(bands=30, rows=2), MatchParams(run=run))
    buckets = by_key(documents, signed)
    places = [shard << 32 | row for shard, n in enumerate((30, 0, len(rows) - 30)) for row in range(n)]
    order = {places[row]: rank for rank, row in enumerate(sorted(range(len(rows)), key=ranked(documents)))}
    wanted, cold = {place: set() for place in places}, {place: set() for place in places}
    for bucket in buckets.values():
        for better, worse in twin.pairs([bucket], run):
            wanted[places[worse]].add(places[better])
            if len(bucket) <= run:
                cold[places[worse]].add(places[better])
    first = {place: min(others, key=order.get, default=None) for place, others in cold.items()}
    table = read(found)
    assert table["candidates"].to_pylist() == [sorted(wanted[p], key=order.get) or None for p in places]
    assert table["anchor"].to_pylist() == [first[p] for p in places]
    assert found.manifest.facts["pairs"] == sum(map(len, wanted.values()))
    assert found.manifest.facts["documents_compared"] == sum(map(bool, wanted.values()))
    sizes = [len(bucket) for bucket in buckets.values()]
    assert found.manifest.facts["keys"] == {
        "2": sizes.count(2),
        "3 to 10": sum(3 <= n <= 10 for n in sizes),
        "11 to 100": sum(11 <= n <= 100 for n in sizes),
    }, "classes without a key are left out, the others come in their order"


def ranked(documents):
    sizes, ids = read(documents)["bytes"].to_pylist(), read(documents)["doc_id"].to_pylist()
    return lambda row: (-sizes[row], int.from_bytes(ids[row][:8], "little"))


def test_keys_keep_all_their_bits_beside_a_document_without_words(tmp_path):
    documents = write_documents(tmp_path / "documents", [[(prose(1), "web"), ("...", "web")]])
    alone = write_documents(tmp_path / "alone", [[(prose(1), "web")]])
    keys = [bands.matrix(read(candidates(tmp_path / f"{d.root.name} out", d)[0])["bands"]) for d in (documents, alone)]
    assert keys[0].dtype == np.uint64
    assert (keys[0][0] == keys[1][0]).all()


def test_hot_keys_are_counted_and_named_by_the_place_of_their_best_document(tmp_path):
    rows = boilerplate(60) + several()
    documents = write_documents(tmp_path / "documents", [rows[:25], rows[25:]])
    signed, found = candidates(tmp_path, documents, match=MatchParams(run=8))
    buckets = {key: bucket for key, bucket in by_key(documents, signed).items() if len(bucket) > 8}
    hot = sorted(buckets, key=lambda key: (-len(buckets[key]), f"{key:016x}"))[: match.HOTTEST]
    assert len(hot) >= 5
    named = []
    for key in hot:
        best = buckets[key][0]
        place = ("part-00000.parquet", best) if best < 25 else ("part-00001.parquet", best - 25)
        named.append({"key": f"{key:016x}", "documents": len(buckets[key]), "shard": place[0], "row": place[1]})
    assert found.manifest.facts["hot_keys"] == named


def test_only_the_hottest_keys_are_named(tmp_path):
    documents = write_documents(tmp_path / "documents", [boilerplate(40)])
    for number, memory in enumerate((1 << 30, 1 << 12)):
        _, found = candidates(
            tmp_path / str(number), documents, SignParams(bands=60, rows=1), MatchParams(run=4), memory
        )
        named = found.manifest.facts["hot_keys"]
        assert len(named) == match.HOTTEST
        assert named == sorted(named, key=lambda hot: (-hot["documents"], hot["key"]))


@pytest.mark.parametrize("memory", TINY[1:])
def test_boilerplate_makes_pairs_that_grow_with_the_documents_only(tmp_path, memory):
    count, sign = 5000, SignParams()
    documents = write_documents(tmp_path / "documents", [boilerplate(count)])
    _, found = candidates(tmp_path, documents, sign)
    facts = found.manifest.facts
    most = (lsh.HUBS + 31 / 2) * count * sign.bands
    assert facts["pairs"] < most / 2 < count * (count - 1) / 8
    assert facts["keys"]["over 1,000"] >= 1
    assert facts["hot_keys"][0]["documents"] > 1000
    assert (facts["hot_keys"][0]["shard"], facts["documents_compared"]) == ("part-00000.parquet", count - 1)
    _, again = candidates(tmp_path / "again", documents, sign, memory_bytes=memory)
    assert content(again) == content(found)


@pytest.mark.parametrize("memory", TINY)
def test_the_memory_of_a_task_changes_no_byte(tmp_path, memory):
    rows = several() + boilerplate(60) + [(edited(prose(70 + i % 9, 300), i, 1 + i % 40), "docs") for i in range(60)]
    documents = write_documents(tmp_path / "documents", [rows[:50], rows[50:51], [], rows[51:]])
    params = SignParams(bands=30, rows=3), MatchParams(run=8), VerifyParams(threshold=0.6, containment=0.7)
    near(tmp_path / "much", documents, *params)
    near(tmp_path / "little", documents, *params, memory_bytes=memory)
    for step in ("match", "verify", "keep"):
        much, little = (content(store.open_corpus(tmp_path / size / step)) for size in ("much", "little"))
        assert much == little, step


@pytest.mark.parametrize("partition_bytes", [1 << 11, 1 << 14])
def test_the_number_of_partitions_changes_no_row(tmp_path, monkeypatch, partition_bytes):
    rows = several() + boilerplate(60)
    documents = write_documents(tmp_path / "documents", [rows[:50], rows[50:]])
    params = SignParams(bands=30, rows=3), MatchParams(run=8), VerifyParams(threshold=0.6)
    one = near(tmp_path / "one", documents, *params)
    monkeypatch.setattr(stage, "PARTITION_BYTES", partition_bytes)
    for number, memory in enumerate((1 << 30, 1 << 12)):
        many = near(tmp_path / f"many{number}", documents, *params, memory_bytes=memory)
        assert content(many) == content(one)


def chain(seed, length):
    """Return texts each of which is like its neighbours only."""
    words, texts = prose(seed, 60).split(), []
    for step in range(length):
        words = [*words[2:], *(f"s{seed}n{step}x{i}" for i in range(2))]
        texts.append((" ".join(words), "web"))
    return texts


@pytest.mark.parametrize("seed", range(2))
def test_clusters_by_stars_are_those_by_union_find(tmp_path, monkeypatch, seed):
    rows = [*chain(900 + seed, 70), *chain(950 + seed, 9), *several(), *boilerplate(30)]
    shuffled = random.Random(seed).sample(rows, len(rows))
    documents = write_documents(tmp_path / "documents", [shuffled[i::4] for i in range(4)])
    _, found = candidates(tmp_path, documents, SignParams(bands=30, rows=3))
    similar = run_stage(tmp_path / "similar", VERIFY, VerifyParams(), documents=documents, candidates=found)
    inputs = {"documents": documents, "similar": similar}
    in_memory = run_stage(tmp_path / "memory", KEEP, KeepParams(), **inputs)
    monkeypatch.setattr(stage, "PARTITION_BYTES", 1500)
    starred = []
    monkeypatch.setattr(cluster, "stars", lambda *given, stars=cluster.stars: starred.append(1) or stars(*given))
    by_stars = run_stage(tmp_path / "stars", KEEP, KeepParams(), **inputs)
    assert starred == [1]
    assert content(by_stars) == content(in_memory)
    assert max(read(in_memory)["cluster_size"].to_pylist()) >= 70


def sent(step, edges, partitions):
    """Return edges as the blocks of a round."""
    rows = np.array(edges, np.uint64).reshape(-1, 2)
    blocks = step.scatter(Edges(rows, partitions), columns={"documents": ("bytes",)}, partitions=partitions)
    return step.regroup(blocks, Joined(partitions), partitions=partitions)


class Edges:
    """Sends all edges from the first batch."""

    def __init__(self, rows, partitions):
        self.rows, self.partitions = rows, partitions

    def __call__(self, batch):
        a, b = self.rows[:, 0].copy(), self.rows[:, 1].copy()
        return pa.record_batch({"a": a, "b": b}), lsh.spread(b, self.partitions)


class Joined:
    def __init__(self, partitions):
        self.partitions = partitions

    def __call__(self, table):
        return cluster.joined(table, partitions=self.partitions)


SHAPES = {
    "random": lambda r: [(r.randrange(200), r.randrange(200)) for _ in range(150)],
    "sparse": lambda r: [(r.randrange(2000), r.randrange(2000)) for _ in range(900)],
    "chain": lambda r: [(i, i + 1) for i in range(700)],
    "mixed chain": lambda r: [(i * 7919 % 701, (i + 1) * 7919 % 701) for i in range(700)],
    "clique": lambda r: [(i, j) for i in range(40) for j in range(i)],
    "one edge": lambda r: [(1, 2)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_stars_over_partitions_find_the_components(tmp_path, shape, partitions):
    edges = [(a, b) for a, b in SHAPES[shape](random.Random(partitions)) if a != b]
    documents = write_documents(tmp_path / "documents", [[("a", "web")]])
    root = tmp_path / "out"
    step = Step("s", root, {"documents": documents}, Foreman("s", root, LocalRunner(1)))
    blocks = cluster.stars(step, sent(step, edges, partitions))
    found = {}
    for partition in range(partitions):
        table = blocks.read(partition)
        if table is not None:
            pairs = list(zip(*cluster.rooted(table, shards=1 << 20).to_pydict().values(), strict=True))
            for node, root_ in pairs:
                assert found.setdefault(node, root_) == root_, "what several partitions say of a document is the same"
    assert found == twin.components(edges)


def test_one_corpus_may_be_mask_and_nothing_of_it_is_compared(tmp_path):
    rows = boilerplate(6)
    documents = write_documents(tmp_path / "documents", [rows[:3], rows[3:]])
    mask = masked(tmp_path / "mask", documents, [[True, False, False], [False, False, True]])
    _, found = candidates(tmp_path, documents, mask=mask)
    compared = [candidate for row in read(found)["candidates"].to_pylist() for candidate in row or ()]
    assert set(compared) <= {0, (1 << 32) + 2}
    assert found.manifest.facts["pairs"] == 1


def test_a_document_signed_before_the_mask_is_not_compared_if_the_mask_drops_it(tmp_path):
    documents = write_documents(tmp_path / "documents", [boilerplate(3)])
    bands_, _ = candidates(tmp_path, documents)
    mask = masked(tmp_path / "mask", documents, [[True, False, True]])
    found = run_stage(tmp_path / "masked", MATCH, MatchParams(), documents=documents, bands=bands_, mask=mask)
    assert read(found)["candidates"].is_valid().to_pylist().count(True) == 1
    assert read(found)["candidates"].to_pylist()[1] is None
