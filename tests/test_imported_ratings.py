"""Ratings that were made elsewhere: a number in the raw files, carried along as text, decides about documents."""

import pyarrow as pa
import pyarrow.parquet as pq

import pipeline
from pipeline.config import Profile
from pipeline.recipe import Recipe
from tests.conftest import read


def built(tmp_path, ratings, **params):
    raw = tmp_path / "raw/web.parquet"
    raw.parent.mkdir(parents=True)
    texts = [f"text number {i}" for i in range(len(ratings))]
    pq.write_table(pa.table({"text": texts, "overall_score": ratings}), raw)
    picked = {"stage": "quality.select", "inputs": {"documents": "documents"}, "params": params}
    sources = {"web": {"paths": [str(raw)], "extra": ["overall_score"]}}
    recipe = Recipe(name="rated", sources=sources, steps={"picked": picked})
    build = pipeline.build(recipe, Profile(root=tmp_path / "root", workers=1))
    kept = dict(zip(read(build["documents"])["text"].to_pylist(), read(build["picked"]).to_pylist(), strict=True))
    return [kept[text] for text in texts], build["picked"].manifest


def test_a_rating_in_the_raw_files_is_a_limit(tmp_path):
    criteria = [{"column": "overall_score", "min": 4, "missing": "drop"}]
    rows, manifest = built(tmp_path, [1, 5, None, 4, 3], criteria=criteria)
    assert [row["keep"] for row in rows] == [False, True, False, True, False]
    assert [row["score"] for row in rows] == [1, 5, None, 4, 3]
    assert manifest.ledger["web"]["dropped"] == {"criterion_overall_score": 3}


def test_a_rating_ranks_and_its_levels_are_buckets(tmp_path):
    params = {"rank": "overall_score", "threshold": 2, "buckets": {"edges": [4.5], "names": ["good", "best"]}}
    rows, manifest = built(tmp_path, [1.5, 5.0, 4.0, 2.0], **params)
    assert [row["bucket"] for row in rows] == [None, "best", "good", "good"]
    assert manifest.facts["buckets"]["web"]["good"]["documents"] == 2
