"""The buckets of a selection as domains of a mixture: through the plan, the packing, the loader and a whole build."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.config import Profile
from pipeline.errors import DataError
from pipeline.mixture.plan import PLAN, PlanParams
from pipeline.recipe import Recipe
from pipeline.reporting.page import write_report
from pipeline.schemas import mixed_domains
from pipeline.tokens.loader import PackedDataset
from pipeline.tokens.pack import PACK, PackParams
from tests.conftest import read, run_stage, write_corpus
from tests.corpora import raw_rows, road, tree, write_raw
from tests.stages.road import Road, in_shards, some_documents
from tests.stages.test_tokens_pack import segments

WEIGHTS = {"web/high": 0.5, "web/low": 0.1, "books": 0.4}


@pytest.fixture
def bucketed(tmp_path):
    """A road and a corpus with a bucket for each web document: high for those with an even number of bytes."""
    made = Road(tmp_path, in_shards(some_documents(), 3))
    made.encode()
    tables = []
    for path in made.documents.paths():
        table = pq.read_table(path)
        named = zip(table["domain"].to_pylist(), table["bytes"].to_pylist(), strict=True)
        names = [("high", "low")[size % 2] if domain == "web" else None for domain, size in named]
        tables.append(pa.table({"bucket": pa.array(names, pa.string())}))
    return made, write_corpus(tmp_path / "buckets", tables, stage="quality.select")


def plan_of(made, buckets, root, **params):
    return run_stage(root, PLAN, PlanParams(**params), tokens=made.tokens, buckets=buckets)


def test_the_mixture_domain_of_a_document_is_its_domain_and_bucket():
    batch = pa.record_batch({"domain": ["web", "web", "books"], "bucket": pa.array(["high", None, "0"])})
    assert mixed_domains(batch).to_pylist() == ["web/high", "web", "books/0"]
    assert mixed_domains(batch.select(["domain"])).to_pylist() == ["web", "web", "books"]


def test_the_plan_and_the_sequences_know_buckets_as_domains_to_the_token(tmp_path, bucketed):
    made, buckets = bucketed
    plan = plan_of(made, buckets, tmp_path / "plan", weights=WEIGHTS, budget_tokens=9_000, max_epochs=20)
    domains = json.loads((plan.root / "data/plan.json").read_text())["domains"]
    assert sorted(domains) == ["books", "code", "web/high", "web/low"]
    assert domains["web/high"]["tokens"] == 4_500
    roles = {"tokens": made.tokens, "plan": plan, "buckets": buckets}
    corpus = run_stage(tmp_path / "sequences", PACK, PackParams(sequence_length=64), **roles)
    assert corpus.manifest.facts["domains"] == sorted(domains)
    assert PackedDataset(corpus.root).packed.domains == tuple(sorted(domains))
    parity = dict(zip(read(made.documents)["doc_id"].to_pylist(), read(buckets)["bucket"].to_pylist(), strict=True))
    taken = dict.fromkeys(domains, 0)
    for _, doc_id, _, piece, number in segments(corpus):
        name = corpus.manifest.facts["domains"][number]
        taken[name] += len(piece)
        assert parity[doc_id] == (name.partition("/")[2] or None)
    assert taken == {name: entry["tokens"] for name, entry in domains.items()}
    assert corpus.manifest.ledger.keys() == domains.keys()


def test_a_weight_of_a_domain_that_is_all_in_buckets_is_refused_with_those_there_are(tmp_path, bucketed):
    made, buckets = bucketed
    with pytest.raises(
        DataError, match=r"there is no domain 'web'.* The documents have books, code, web/high, web/low"
    ):
        plan_of(made, buckets, tmp_path / "plan", weights={"web": 1.0})


def test_a_packing_that_does_not_know_the_plans_buckets_is_refused(tmp_path, bucketed):
    made, buckets = bucketed
    plan = plan_of(made, buckets, tmp_path / "plan")
    with pytest.raises(Exception, match="the plan knows no domain 'web'"):
        run_stage(tmp_path / "sequences", PACK, PackParams(), tokens=made.tokens, plan=plan)


def recipe(raw):
    weights = {"prose/high": 0.5, "prose/low": 0.1, "notes/high": 0.3, "notes/low": 0.1}
    change = {
        "select": {
            "params": {"buckets": {"count": 2, "names": ["low", "high"]}, "temperature": 1.0, "scope": "domain"}
        },
        "plan": {"inputs": {"buckets": "select"}, "params": {"weights": weights, "max_epochs": 50}},
        "sequences": {"inputs": {"buckets": "select"}},
    }
    return road(raw, mixture={"budget_tokens": 30_000}, steps=change)


def test_a_build_draws_documents_and_mixes_their_buckets_with_the_same_bytes_for_any_files_and_workers(tmp_path):
    made = {}
    for name, files, workers in (("one", 1, 1), ("more", 3, 2)):
        write_raw(tmp_path / name / "raw", raw_rows(), files)
        profile = Profile(root=tmp_path / name / "root", workers=workers)
        made[name] = pipeline.build(Recipe(**recipe(tmp_path / name / "raw")), profile)
    one, more = made["one"], made["more"]
    assert one["select"].manifest.ledger == more["select"].manifest.ledger
    assert "not_sampled" in one["select"].manifest.ledger["prose"]["dropped"]
    shares = {d: entry["share"] for d, entry in one["plan"].manifest.facts["domains"].items()}
    assert shares["prose/high"] == pytest.approx(0.5)
    for domain, entry in one["sequences"].manifest.facts["by_domain"].items():
        assert entry["tokens"] == entry["planned_tokens"] == round(30_000 * shares[domain])
    packed = [tree(build["sequences"].root / "data") for build in (one, more)]
    assert packed[0] == packed[1]
    html = write_report(one).read_text(encoding="utf-8")
    for words in ("prose/high", "Drawn without replacement", "Buckets"):
        assert words in html
