"""mixture.cluster: clusters that depend on the documents alone, their names, and the buckets other stages read."""

import json
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import ConfigError, DataError
from pipeline.execution.local import LocalRunner
from pipeline.kernels.fasttext_model import Model, serialise
from pipeline.mixture import cluster_facts, cluster_model, cluster_names
from pipeline.mixture.cluster import CLUSTER, SCHEMA, ClusterParams, assign_batch, scopes_of
from pipeline.mixture.plan import PLAN, PlanParams
from pipeline.schemas import mixed_domains
from tests.conftest import read, run_stage, write_corpus, write_documents
from tests.stages.masks import masked
from tests.stages.road import Road, in_shards
from tests.stages.road import some_documents as some_road_documents

TOPICS = {
    "cooking": "pepper onion garlic butter recipe oven flour sauce",
    "sailing": "mast anchor harbour rudder keel sailor wind boat",
    "physics": "quark electron photon energy particle collider spin mass",
}
COMMON = ["the", "of", "and", "that", "with"]


def document(topic, number):
    rng = np.random.default_rng([number, *topic.encode()])
    words = [*rng.choice(TOPICS[topic].split(), 12), *rng.choice(COMMON, 8), f"{topic[0]}{number}"]
    return " ".join(rng.permutation(words))


def some_documents(each=20):
    """(text, domain) of every topic: cooking and sailing are in the web, physics in books."""
    rows = [(topic, number) for number in range(each) for topic in TOPICS]
    return [(document(topic, number), "books" if topic == "physics" else "web") for topic, number in rows]


ROWS = some_documents()
TOPIC_OF = {document(topic, number): topic for topic in TOPICS for number in range(40)}


def clustered(root, rows=ROWS, cuts=(25,), runner=None, roles=None, **params):
    """Run the stage on documents cut into shards at these rows; return the documents and the corpus."""
    bounds = [0, *cuts, len(rows)]
    documents = write_documents(root / "documents", [rows[a:b] for a, b in pairwise(bounds)])
    inputs = {"documents": documents, **(roles(documents) if roles else {})}
    return documents, run_stage(root / "clusters", CLUSTER, ClusterParams(**params), runner=runner, **inputs)


def by_text(documents, corpus):
    rows = (read(corpus)[name].to_pylist() for name in SCHEMA.names)
    return {text: row for text, *row in zip(read(documents)["text"].to_pylist(), *rows, strict=True)}


def topics(documents, corpus):
    """Bucket -> the topics of its documents."""
    found = defaultdict(Counter)
    for text, (bucket, _) in by_text(documents, corpus).items():
        found[bucket][TOPIC_OF[text]] += 1
    return found


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return clustered(tmp_path_factory.mktemp("three"), count=3)


def test_topics_become_domains_named_by_words_of_theirs(three):
    found = topics(*three)
    assert sorted(tuple(counts) for counts in found.values()) == [("cooking",), ("physics",), ("sailing",)]
    for bucket, counts in found.items():
        (topic,) = counts
        assert bucket[0] == "/"
        assert set(bucket[1:].split("-")) <= set(TOPICS[topic].split())


def test_facts_tell_sizes_words_neighbours_and_how_the_clusters_fit_the_domains(three):
    documents, corpus = three
    facts = corpus.manifest.facts
    assert facts["sample_documents"] == len(ROWS)
    assert (facts["wanted"], facts["embedding"]) == (3, "hashed")
    sizes = Counter(bucket[1:] for bucket, _ in by_text(documents, corpus).values())
    assert {name: told["documents"] for name, told in facts["clusters"].items()} == sizes
    assert sum(told["bytes"] for told in facts["clusters"].values()) == sum(len(text) for text, _ in ROWS)
    for name, told in facts["clusters"].items():
        assert told["nearest"]["name"] in set(facts["clusters"]) - {name}
        assert name == "-".join(told["words"][:2])
        assert 0 < told["cohesion"] <= 1
    assert facts["agreement_with_domains"]["purity"] == 1.0
    likeness = [s for b, s in by_text(documents, corpus).values() if b[1:] == (first := min(facts["clusters"]))]
    assert facts["clusters"][first]["cohesion"] == pytest.approx(np.mean(likeness), abs=2e-4)


@pytest.mark.parametrize(
    "params", [{"count": 3}, {"count": 5, "sample_documents": 30}, {"count": 6, "within": "domain"}]
)
def test_how_documents_lie_in_files_and_who_works_does_not_show(tmp_path, params):
    expected = clustered(tmp_path / "a", **params)
    shuffled = [ROWS[place] for place in np.random.default_rng(3).permutation(len(ROWS))]
    with LocalRunner(2) as runner:
        other = clustered(tmp_path / "b", shuffled, (1, 2, 40), runner, **params)
    assert by_text(*other) == by_text(*expected)
    assert other[1].manifest.facts == expected[1].manifest.facts
    twice = clustered(tmp_path / "c", **params)[1]
    assert [shard.checksum for shard in twice.manifest.shards] == [s.checksum for s in expected[1].manifest.shards]


def test_dropped_documents_have_no_bucket_and_no_say(tmp_path):
    rows = ROWS + [("the junk of spam " * 3 + document("sailing", n), "spam") for n in range(21, 30)]
    documents = write_documents(tmp_path / "documents", [rows[:30], rows[30:]])
    mask = masked(tmp_path / "mask", documents, [[row[1] != "spam" for row in part] for part in (rows[:30], rows[30:])])
    corpus = run_stage(tmp_path / "with", CLUSTER, ClusterParams(count=3), documents=documents, mask=mask)
    found = by_text(documents, corpus)
    assert all((found[text] == [None, None]) == (domain == "spam") for text, domain in rows)
    alone = by_text(*clustered(tmp_path / "alone", count=3))
    assert {text: found[text] for text in alone} == alone


def test_clusters_within_domains_are_parts_of_them(tmp_path):
    documents, corpus = clustered(tmp_path, count=3, within="domain")
    found = topics(documents, corpus)
    assert not any("/" in bucket for bucket in found)
    batch = pa.record_batch(
        {"domain": read(documents)["domain"].combine_chunks(), "bucket": read(corpus)["bucket"].combine_chunks()}
    )
    names = Counter(mixed_domains(batch).to_pylist())
    assert sorted(name.split("/")[0] for name in names) == ["books", "web", "web"]
    assert {name: told["documents"] for name, told in corpus.manifest.facts["clusters"].items()} == names


def test_clusters_are_shared_by_bytes_and_every_domain_has_one():
    census = {"web": {"bytes": 700}, "books": {"bytes": 300}, "code": {"bytes": 0}}
    assert scopes_of(ClusterParams(count=13, within="domain"), census) == {"books": 4, "code": 1, "web": 8}
    with pytest.raises(ConfigError, match="2 clusters cannot be shared by the 3 domains books, code, web"):
        scopes_of(ClusterParams(count=2, within="domain"), census)


def test_a_bucket_with_a_slash_in_front_is_a_domain_whatever_the_documents_is():
    batch = pa.record_batch({"domain": ["web", "web", "books"], "bucket": pa.array(["/tea", "/tea/high", "low"])})
    assert mixed_domains(batch).to_pylist() == ["tea", "tea/high", "books/low"]


def test_a_plan_takes_clusters_for_domains(tmp_path):
    made = Road(tmp_path, in_shards(some_road_documents(), 3))
    made.encode()
    corpus = run_stage(tmp_path / "clusters", CLUSTER, ClusterParams(count=3), documents=made.documents)
    plan = run_stage(tmp_path / "plan", PLAN, PlanParams(weights="uniform"), tokens=made.tokens, buckets=corpus)
    assert set(plan.manifest.facts["domains"]) == set(corpus.manifest.facts["clusters"])


def test_quality_buckets_are_parts_of_the_clusters(tmp_path, three):
    def quality(documents):
        tables = []
        for path in documents.paths():
            sizes = pq.read_table(path)["bytes"].to_pylist()
            tables.append(pa.table({"bucket": pa.array([("high", "low", None)[size % 3] for size in sizes])}))
        return {"buckets": write_corpus(tmp_path / "quality", tables, stage="quality.select")}

    documents, corpus = clustered(tmp_path, count=3, roles=quality)
    plain = by_text(*three)
    for text, (bucket, similarity) in by_text(documents, corpus).items():
        assert bucket == plain[text][0] + ("/high", "/low", "")[len(text) % 3]
        assert similarity == plain[text][1]
    assert corpus.manifest.facts["clusters"] == three[1].manifest.facts["clusters"]


def test_documents_without_words_are_in_the_largest_cluster(tmp_path):
    rows = [*ROWS, (document("sailing", 30), "web"), ("", "web"), ("12 345 !", "web"), ("...", "books")]
    documents, corpus = clustered(tmp_path, rows, count=3)
    found = by_text(documents, corpus)
    largest = max(corpus.manifest.facts["clusters"].items(), key=lambda item: item[1]["bytes"])[0]
    assert all(found[text] == [f"/{largest}", 0.0] for text, _ in rows[-3:])


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[:1] * 4, [("", "web"), ("?", "web")], ROWS[:2]])
def test_fewer_documents_than_clusters_make_fewer_clusters(tmp_path, rows):
    documents, corpus = clustered(tmp_path, rows, (1,), count=8)
    found = by_text(documents, corpus)
    assert len({bucket for bucket, _ in found.values()}) == len(corpus.manifest.facts["clusters"]) <= len(set(rows))
    assert all(bucket.startswith("/") and len(bucket) > 1 for bucket, _ in found.values())
    assert corpus.manifest.facts["wanted"] == 8


def test_a_cluster_below_the_least_share_is_merged(tmp_path):
    rows = [row for row in ROWS if row[1] == "web"] + [(document("physics", n), "web") for n in range(5)]
    assert len(clustered(tmp_path / "a", rows, count=3, minimum_share=0.0)[1].manifest.facts["clusters"]) == 3
    assert len(clustered(tmp_path / "b", rows, count=3, minimum_share=0.2)[1].manifest.facts["clusters"]) == 2


def test_a_row_depends_on_its_own_text_only(tmp_path):
    rows = [*ROWS, ("", "web")]
    documents = write_documents(tmp_path / "documents", [rows])
    model = _learn(tmp_path, documents)
    batch = (
        read(documents).append_column("keep", pa.array(np.arange(len(rows)) % 5 > 0)).combine_chunks().to_batches()[0]
    )
    whole = assign_batch(batch, model=model, vectors=None)
    ten = assign_batch(batch.slice(17, 10), model=model, vectors=None)
    assert ten.equals(whole.slice(17, 10))
    assert assign_batch(batch.slice(0, 0), model=model, vectors=None).num_rows == 0
    assert whole["bucket"].null_count == 13


def _learn(root, documents):
    """Return the file of the clusters of some documents."""
    paths = []

    def assign(batch, *, model, vectors):
        paths.append(model)
        return assign_batch(batch, model=model, vectors=vectors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.mixture.cluster.assign_batch", assign)
        patch.setattr("pipeline.store.sweep", lambda root, manifest: None)
        run_stage(root / "learned", CLUSTER, ClusterParams(count=3), documents=documents)
    return paths[0]


def test_the_file_of_the_clusters_is_named_by_what_is_in_it(tmp_path):
    """So a shard is taken over from an earlier build only if all clusters are the same."""
    scope = cluster_model.Scope(
        np.arange(4), 1, np.ones((1, 4), np.int16), np.zeros(1, np.int32), np.ones((1, 4), np.int16), 0
    )
    made = [cluster_model.Clusters(np.ones(3), 4, seed, {None: scope}, {None: ["tea"]}) for seed in (0, 0, 1)]
    paths = [clusters.save(tmp_path / str(place)) for place, clusters in enumerate(made)]
    assert paths[0].name == paths[1].name != paths[2].name
    loaded = cluster_model.load(paths[2])
    assert (loaded.seed, loaded.names, loaded.scopes[None].count) == (1, {None: ["tea"]}, 1)


def vectors(path, words):
    """Write a fastText model with these vectors of words."""
    entries = [word.encode() for word in (*words, "__label__a")]
    ends = np.cumsum([0, *map(len, entries)])
    text = np.frombuffer(b"".join(entries), np.uint8)
    counts = np.ones(len(entries), np.int64)
    rows = np.array(list(words.values()), np.float32)
    sizes = {"word_ngrams": 1, "bucket": 0, "minn": 0, "maxn": 0, "epochs": 1, "min_count": 1, "n_tokens": len(words)}
    outputs = np.zeros((1, rows.shape[1]), np.float32)
    model = Model(
        "softmax",
        **sizes,
        n_words=len(words),
        entry_bytes=text,
        entry_offsets=ends,
        entry_counts=counts,
        pruned_rows=None,
        inputs_RD=rows,
        outputs_LD=outputs,
    )
    path.write_bytes(serialise(model))
    return path


def test_given_vectors_decide_what_is_alike(tmp_path):
    """Here cooking and sailing are one thing, by vectors that say so."""
    given = {word: [1.0, 0.0, 0.1] for topic in ("cooking", "sailing") for word in TOPICS[topic].split()}
    given |= {word: [0.0, 1.0, 0.1] for word in TOPICS["physics"].split()}
    file = vectors(tmp_path / "model.bin", given)
    rows = [*ROWS, ("nothing that is known", "web")]
    documents, corpus = clustered(tmp_path / "run", rows, roles=lambda _: {"vectors": file}, count=2)
    found = by_text(documents, corpus)
    assert found.pop("nothing that is known")[1] == 0.0
    kinds = defaultdict(set)
    for text, (bucket, _) in found.items():
        kinds[bucket].add(TOPIC_OF[text])
    assert sorted(map(sorted, kinds.values())) == [["cooking", "sailing"], ["physics"]]
    assert corpus.manifest.facts["embedding"] == "static"


def test_vectors_and_dimensions_exclude_each_other_and_bad_vectors_are_refused_at_once(tmp_path):
    file = vectors(tmp_path / "model.bin", {"a": [1.0, 2.0]})
    with pytest.raises(ConfigError, match="`dimensions: 64` are those of hashed words"):
        clustered(tmp_path / "run", roles=lambda _: {"vectors": file}, count=2, dimensions=64)
    CLUSTER.check(ClusterParams(), {"vectors": file})
    file.write_bytes(b"not a model")
    with pytest.raises(DataError, match="cannot be read as word vectors"):
        CLUSTER.check(ClusterParams(), {"vectors": file})


def test_nothing_to_cluster_is_an_error_that_says_so(tmp_path):
    documents = write_documents(tmp_path / "documents", [ROWS[:3]])
    mask = masked(tmp_path / "mask", documents, [[False] * 3])
    with pytest.raises(DataError, match="no document is kept"):
        run_stage(tmp_path / "clusters", CLUSTER, ClusterParams(), documents=documents, mask=mask)
    with pytest.raises(ValidationError, match="`fine` is at least `count`"):
        ClusterParams(count=9, fine=8)


@given(st.lists(st.lists(st.sampled_from(["tea", "ice", "oak"]), max_size=4), max_size=8))
def test_names_are_unique_and_without_a_slash(words):
    names = cluster_names.named(words, range(len(words)))
    assert len(set(names)) == len(words)
    assert all(name and "/" not in name for name in names)
    assert all(name.startswith("-".join(own[:2])) for name, own in zip(names, words, strict=True))


def test_words_that_are_too_short_or_long_are_in_no_name():
    spelled = {1: "ab", 2: "茶", 3: "x" * 25, 4: "tea"}
    assert cluster_names.told([1, 2, 3, 4, 5], spelled) == ["茶", "tea"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_agreement_is_that_of_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    tables = defaultdict(Counter)
    for cluster, domain in pairs:
        tables[str(cluster)][str(domain)] += 1
    expected = metrics.normalized_mutual_info_score(*zip(*pairs, strict=True))
    assert cluster_facts.mutual_information(tables) == pytest.approx(expected, abs=1e-4)
    json.dumps(cluster_facts.purity(tables))


@pytest.mark.shared
def test_clusters_of_real_text_agree_with_its_sources(tmp_path, shared):
    rows = []
    for domain in ("books", "code", "forum", "web"):
        texts = pq.read_table(shared / f"data/small/{domain}-00000.parquet", columns=["text"])["text"].to_pylist()
        rows += [(text, domain) for text in texts[:150]]
    _, corpus = clustered(tmp_path, rows, (77, 300), count=8)
    assert corpus.manifest.facts["agreement_with_domains"]["nmi"] > 0.4
