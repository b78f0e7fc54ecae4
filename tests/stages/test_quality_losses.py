"""quality.losses with small models made on the spot: numbers of a plain loop, tasks kept, the same bytes."""

import json
import math
import shutil

import numpy as np
import pytest

from pipeline.errors import StageError
from pipeline.execution import LocalRunner
from pipeline.kernels.hashing import draw
from pipeline.quality.losses import LOSSES, SAMPLE, LossesParams
from pipeline.schemas import doc_ids
from tests.conftest import read, run_stage, write_documents
from tests.quality import ladder

pytestmark = pytest.mark.torch

SHARDS = [[(text, "web") for text in ladder.TEXTS], [(f"{text} again", "forum") for text in ladder.TEXTS[:4]]]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    ladder.write_model(root / "small", seed=1)
    ladder.write_model(root / "bare", seed=2, bos=False)
    return root


@pytest.fixture
def documents(tmp_path):
    return write_documents(tmp_path / "documents", SHARDS)


def roles(models, *names):
    return {f"model.{name}": models / name for name in names}


def plain_losses(folder, text, window, stride):
    """Return (nats, bytes, tokens) of a text by the recipe of Hugging Face: its own tokenizer, labels and mean loss."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    encoded = tokenizer(text, return_tensors="pt", return_offsets_mapping=True, split_special_tokens=True)
    ids, nats, tokens, previous = encoded.input_ids, 0.0, 0, 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + window, ids.shape[1])
        labels = ids[:, begin:end].clone()
        labels[:, : -(end - previous)] = -100
        scored = int((labels[:, 1:] != -100).sum())
        if scored:
            with torch.no_grad():
                nats += float(model(ids[:, begin:end], labels=labels).loss) * scored
        tokens, previous = tokens + scored, end
        if end == ids.shape[1]:
            break
    head = 0 if ids[0, :1].tolist() == [0] else len(text[: int(encoded.offset_mapping[0, 0, 1])].encode())
    return nats, len(text.encode()) - head, tokens


@pytest.mark.parametrize("name", ["small", "bare"])
def test_losses_are_those_of_the_plain_recipe(tmp_path, models, documents, name):
    made = run_stage(tmp_path / "out", LOSSES, LossesParams(stride=20), documents=documents, **roles(models, name))
    found = {row.pop("doc_id"): row for row in read(made).to_pylist()}
    for row in read(documents).select(["doc_id", "text"]).to_pylist():
        nats, size, tokens = plain_losses(models / name, row["text"], 64, 20) if row["text"] else (0, 0, 0)
        if not tokens:
            assert row["doc_id"] not in found
            continue
        loss = found[row["doc_id"]]
        assert loss["nats"] == pytest.approx(nats, rel=1e-4, abs=2e-3)
        assert (loss["bytes"], loss["tokens"], loss["model"]) == (size, tokens, name)


def test_facts_tell_bits_per_byte_and_documents_without_tokens(tmp_path, models, documents):
    made = run_stage(tmp_path / "out", LOSSES, LossesParams(), documents=documents, **roles(models, "small", "bare"))
    facts, table = made.manifest.facts, read(made)
    assert facts["without_tokens"] == {"bare": 2, "small": 1}
    for name, told in facts["models"].items():
        rows = [row for row in table.to_pylist() if row["model"] == name]
        bits = sum(row["nats"] for row in rows) / math.log(2) / sum(row["bytes"] for row in rows)
        assert told["bits_per_byte"] == pytest.approx(bits, abs=1e-6)
        assert told["documents"] == len(rows)


def test_the_bytes_do_not_depend_on_workers(tmp_path, models, documents):
    one = run_stage(tmp_path / "1", LOSSES, LossesParams(), documents=documents, **roles(models, "small", "bare"))
    with LocalRunner(2) as runner:
        two = run_stage(
            tmp_path / "2", LOSSES, LossesParams(), runner=runner, documents=documents, **roles(models, "small", "bare")
        )
    assert one.manifest == two.manifest
    assert [path.name for path in one.paths()] == [
        f"{m}-part-0000{s}.parquet" for m in ("bare", "small") for s in (0, 1)
    ]


def test_a_row_depends_on_its_own_text_only(tmp_path, models, documents):
    flat = write_documents(tmp_path / "flat", [[row for shard in SHARDS for row in shard][::-1]])
    params = LossesParams(batch_tokens=500)
    found = [
        {row["doc_id"]: row["nats"] for row in read(made).to_pylist()}
        for made in (
            run_stage(tmp_path / "a", LOSSES, params, documents=documents, **roles(models, "small")),
            run_stage(tmp_path / "b", LOSSES, params, documents=flat, **roles(models, "small")),
        )
    ]
    assert found[0].keys() == found[1].keys()
    np.testing.assert_allclose(list(found[0].values()), [found[1][id_] for id_ in found[0]], rtol=1e-4, atol=2e-3)


def test_a_share_is_drawn_by_the_document_alone(tmp_path, models):
    rows = [(f"text number {i}", "web") for i in range(60)]
    documents = write_documents(tmp_path / "documents", [rows[:25], rows[25:]])
    params = LossesParams(share=0.4, seed=3)
    made = run_stage(tmp_path / "out", LOSSES, params, documents=documents, **roles(models, "small"))
    drawn = draw(3, doc_ids(read(documents)["doc_id"]), SAMPLE) < np.uint64(0.4 * 2**64)
    assert set(read(made)["doc_id"].to_pylist()) == set(read(documents)["doc_id"].filter(drawn).to_pylist())
    assert 10 < made.manifest.rows < 40


def test_what_is_finished_is_not_scored_again(tmp_path, models, documents):
    """The step fails at its second model; mended, it goes on with that one alone, and the bytes are the same."""
    broken = tmp_path / "models"
    shutil.copytree(models, broken)
    (broken / "small" / "model.safetensors").write_bytes(b"no weights")
    given = roles(broken, "bare", "small")
    with pytest.raises(StageError, match=r"2 of 4 tasks:\n  small-part-00000: the model .* cannot be loaded"):
        run_stage(tmp_path / "out", LOSSES, LossesParams(), documents=documents, **given)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "data").iterdir()}
    assert set(before) == {"bare-part-00000.parquet", "bare-part-00001.parquet"}
    shutil.copy(models / "small" / "model.safetensors", broken / "small")
    resumed = run_stage(tmp_path / "out", LOSSES, LossesParams(), documents=documents, **given)
    assert {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "data").iterdir()
    }.items() >= before.items()
    whole = run_stage(tmp_path / "whole", LOSSES, LossesParams(), documents=documents, **roles(models, "bare", "small"))
    assert resumed.manifest.shards == whole.manifest.shards


def test_a_model_that_another_folder_s_tokenizer_came_with_is_refused(tmp_path, models, documents):
    shutil.copytree(models / "small", tmp_path / "small")
    config = json.loads((tmp_path / "small" / "tokenizer.json").read_text())
    config["model"]["vocab"] |= {"Ġ": 5000}
    (tmp_path / "small" / "tokenizer.json").write_text(json.dumps(config))
    with pytest.raises(StageError, match="its tokenizer makes the id 5,000 and the model knows 300"):
        run_stage(tmp_path / "out", LOSSES, LossesParams(), documents=documents, **{"model.small": tmp_path / "small"})


def test_a_stride_beyond_the_model_s_window_is_refused(tmp_path, models, documents):
    with pytest.raises(StageError, match="stride: 64 is not below the 64 positions that the model small reads"):
        run_stage(tmp_path / "out", LOSSES, LossesParams(stride=64), documents=documents, **roles(models, "small"))


def test_bfloat16_without_a_gpu_is_refused(tmp_path, models, documents):
    with pytest.raises(StageError, match="was to be read as bfloat16, and this worker sees no GPU"):
        run_stage(
            tmp_path / "out", LOSSES, LossesParams(dtype="bfloat16"), documents=documents, **roles(models, "small")
        )


def test_weights_that_are_missing_are_not_drawn_at_random(tmp_path, models, documents):
    from safetensors.torch import load_file, save_file

    shutil.copytree(models / "small", tmp_path / "small")
    path = tmp_path / "small" / "model.safetensors"
    weights = load_file(path)
    weights.pop("model.norm.weight")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(StageError, match=r"has no weights for 1 of its parts, such as model\.norm\.weight"):
        run_stage(tmp_path / "out", LOSSES, LossesParams(), documents=documents, **{"model.small": tmp_path / "small"})


def test_a_model_of_the_hub_that_cannot_be_had_says_what_to_do(tmp_path, documents, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub = [{"name": "a", "id": "someone/something", "revision": "0" * 40}]
    with pytest.raises(
        StageError, match=r"(?s)someone/something@0+ cannot be loaded.*`hf download someone/something --rev"
    ):
        run_stage(tmp_path / "out", LOSSES, LossesParams(hub=hub), documents=documents)


def test_text_that_looks_like_a_command_is_text(tmp_path, models):
    documents = write_documents(tmp_path / "documents", [[("<s></s>", "web")]])
    made = run_stage(tmp_path / "out", LOSSES, LossesParams(), documents=documents, **roles(models, "small"))
    assert read(made)["tokens"].to_pylist() == [7]


def test_what_begins_a_text_may_be_forced_or_left_out(tmp_path, models):
    documents = write_documents(tmp_path / "documents", [[("abc", "web")]])
    for name, bos, tokens in (("bare", "always", 3), ("bare", "auto", 2), ("small", "auto", 3), ("small", "never", 2)):
        out = tmp_path / f"{name}-{bos}"
        made = run_stage(out, LOSSES, LossesParams(bos=bos), documents=documents, **roles(models, name))
        assert read(made)["tokens"].to_pylist() == [tokens], (name, bos)
        assert read(made)["bytes"].to_pylist() == [tokens], (name, bos)


@pytest.mark.ray
@pytest.mark.slow
def test_actors_of_ray_give_the_same_bytes(tmp_path, models, documents):
    from pipeline.execution import Settings, runner_for

    one = run_stage(tmp_path / "1", LOSSES, LossesParams(), documents=documents, **roles(models, "small", "bare"))
    with runner_for(Settings(runner="ray", workers=2)) as runner:
        two = run_stage(
            tmp_path / "2", LOSSES, LossesParams(), runner=runner, documents=documents, **roles(models, "small", "bare")
        )
    assert one.manifest == two.manifest
