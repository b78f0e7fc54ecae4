"""Targets of mixtures: texts held out of every domain, or given ones that no document repeats."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.corpus import Corpus
from pipeline.errors import DataError
from pipeline.execution.local import LocalRunner
from pipeline.mixture.held_out import HeldOut, HeldOutParams, held_out
from pipeline.parquet import read_zipped
from pipeline.stage import Step
from pipeline.tasks import Foreman
from tests.conftest import write_corpus, write_documents
from tests.stages.masks import masked

SIZE = 100
"""Bytes of every document."""


def text(domain, number):
    return f"{domain} {number} ".ljust(SIZE, "x")


ROWS = [(text(domain, number), domain) for domain, count in (("code", 40), ("web", 400)) for number in range(count)]
SHARDS = [ROWS[::2], ROWS[1::2]]


@dataclass
class Corpora:
    root: Path
    wired: dict[str, Corpus | Path]

    def held_out(self, **params) -> HeldOut:
        corpora = {role: given for role, given in self.wired.items() if isinstance(given, Corpus)}
        files = {role: given for role, given in self.wired.items() if role not in corpora}
        step = Step("mixture.test", self.root, corpora, Foreman("mixture.test", self.root, LocalRunner(1)), {}, files)
        return held_out(step, HeldOutParams(**params))


def corpora(root, shards=SHARDS, **wired):
    return Corpora(root, {"documents": write_documents(root / "documents", shards), **wired})


def test_every_domain_holds_out_a_tenth_at_most_or_as_much_as_is_asked_for(tmp_path):
    found = corpora(tmp_path).held_out(held_out_bytes=1000)
    assert list(found.texts) == ["code", "web"]
    assert [len(texts) for texts in found.texts.values()] == [4, 10]
    assert all(
        text in {row for row, of in ROWS if of == domain} for domain in found.texts for text in found.texts[domain]
    )


def test_what_is_held_out_is_not_trained_on_and_all_else_is(tmp_path):
    made = corpora(tmp_path)
    found = made.held_out(held_out_bytes=1000)
    trained = []
    for path in made.wired["documents"].paths():
        for batch in read_zipped({path: ("doc_id", "text", "domain")}):
            batch = batch.append_column("keep", pa.array(np.ones(batch.num_rows, bool)))
            trained += batch["text"].filter(pa.array(found.open_rows(batch))).to_pylist()
    held = {text for texts in found.texts.values() for text in texts}
    assert sorted([*held, *trained]) == sorted(text for text, _ in ROWS)


def test_shards_and_their_order_change_nothing_and_the_seed_does(tmp_path):
    first = corpora(tmp_path / "a").held_out(held_out_bytes=1000)
    again = corpora(tmp_path / "b", [ROWS[300:], ROWS[:100], ROWS[100:300]]).held_out(held_out_bytes=1000)
    assert first == again
    assert first.texts != corpora(tmp_path / "c").held_out(held_out_bytes=1000, seed=1).texts


def test_the_last_text_is_cut_to_fit(tmp_path):
    found = corpora(tmp_path).held_out(held_out_bytes=250)
    assert [len(text) for text in found.texts["web"]] == [SIZE, SIZE, 50]


def test_what_the_mask_dropped_is_no_target_and_buckets_are_domains(tmp_path):
    made = corpora(tmp_path)
    keep = [[domain == "web" for _, domain in shard] for shard in SHARDS]
    made.wired["mask"] = masked(tmp_path / "mask", made.wired["documents"], keep)
    halves = [["low" if int(text.split()[1]) < 200 else "high" for text, _ in shard] for shard in SHARDS]
    tables = [pa.table({"bucket": pa.array(half, pa.string())}) for half in halves]
    made.wired["buckets"] = write_corpus(tmp_path / "buckets", tables)
    found = made.held_out(held_out_bytes=500)
    assert list(found.texts) == ["web/high", "web/low"]
    assert {int(text.split()[1]) < 200 for text in found.texts["web/low"]} == {True}


def test_given_texts_are_the_targets_but_for_those_that_are_documents(tmp_path):
    target = tmp_path / "given.jsonl"
    texts = [f"  {ROWS[0][0]}\n", "a text that is held out", "another one"]
    target.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    made = corpora(tmp_path, **{"targets.given": target})
    found = made.held_out()
    assert {name: set(texts) for name, texts in found.texts.items()} == {"given": set(texts[1:])}
    assert found.left_out == {"given": 1}
    assert not found.open.last
    target.write_text(json.dumps({"text": texts[0]}))
    with pytest.raises(DataError, match="give texts that were held out"):
        made.held_out()


def test_a_domain_of_one_document_cannot_be_held_out(tmp_path):
    with pytest.raises(DataError, match="domain tiny has 1 documents, too few to hold some out"):
        corpora(tmp_path, [[*ROWS, ("one text", "tiny")]]).held_out()


def test_a_step_that_plays_a_target_is_refused(tmp_path):
    made = corpora(tmp_path)
    made.wired["targets.x"] = made.wired["documents"]
    with pytest.raises(DataError, match="targets are files"):
        made.held_out()
