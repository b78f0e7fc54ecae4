"""Tables of runs: the layouts that are read, and what is refused by name."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from pipeline.mixture import runs
from tests.mixture.laws import runs_of, world

MIXTURES = "index,train_web,train_code\n1,0.25,0.75\n2,0.5,0.5\n3,0.999,0.002\n"
LOSSES = "index,metric/web_val_loss,metric/code_val_loss\n3,1.0,3.0\n1,2.0,1.5\n2,1.5,1.75\n"


def pair(tmp_path, mixtures_=MIXTURES, losses=LOSSES):
    (tmp_path / "mixture.csv").write_text(mixtures_)
    (tmp_path / "loss.csv").write_text(losses)
    return runs.pair(tmp_path / "mixture.csv", tmp_path / "loss.csv")


def by_name(found):
    return {
        name: (w.tolist(), losses.tolist())
        for name, w, losses in zip(found.names, found.weights_ND, found.losses_SNT[-1], strict=True)
    }


def test_a_pair_of_tables_is_joined_by_its_index_whatever_the_order_of_rows(tmp_path):
    found = pair(tmp_path)
    assert (found.domains, found.targets, found.steps) == (("web", "code"), ("web", "code"), (0,))
    assert by_name(found)["1"] == ([0.25, 0.75], [2.0, 1.5])
    assert by_name(found)["3"][0] == pytest.approx([0.999 / 1.001, 0.002 / 1.001])
    assert found.notes == ("the weights of 1 of 3 runs summed to 1 to 1.001 and were divided by their sum",)


def test_the_layout_of_olmix_is_read(tmp_path):
    (tmp_path / "ratios.csv").write_text("run_id,name,index,web,code\na,x,0,0.5,0.5\nb,y,1,0.25,0.75\n")
    (tmp_path / "metrics.csv").write_text("run_id,name,index,mmlu_bpb\nb,y,1,1.25\na,x,0,1.5\n")
    found = runs.olmix(tmp_path)
    assert by_name(found) == {"a": ([0.5, 0.5], [1.5]), "b": ([0.25, 0.75], [1.25])}


def test_a_table_with_steps_comes_back_as_it_was_written(tmp_path):
    seen = runs_of(world(9))
    at_two = runs.Runs(
        seen.names, seen.domains, seen.targets, (100, 200), seen.weights_ND, np.vstack([seen.losses_SNT] * 2)
    )
    pq.write_table(at_two.table(), tmp_path / "runs.parquet")
    found = runs.read(tmp_path / "runs.parquet")
    assert found.steps == (100, 200)
    assert by_name(found) == by_name(at_two)
    pq.write_table(found.table(), tmp_path / "again.parquet")
    assert runs.read(tmp_path / "again.parquet").table() == found.table()


def test_the_order_of_the_rows_decides_nothing(tmp_path):
    table = runs_of(world(20)).table()
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table.take(pa.array(np.random.default_rng(0).permutation(20))), tmp_path / "b.parquet")
    assert runs.read(tmp_path / "a.parquet").table() == runs.read(tmp_path / "b.parquet").table()


def test_any_wide_table_is_read_when_its_columns_are_named(tmp_path):
    (tmp_path / "wide.csv").write_text("run,web,code,lr,ppl\nq,0.5,0.5,7,3.0\nr,0.25,0.75,7,2.5\n")
    found = runs.read(tmp_path / "wide.csv", domains=("web", "code"), targets=("ppl",))
    assert by_name(found) == {"q": ([0.5, 0.5], [3.0]), "r": ([0.25, 0.75], [2.5])}


def test_replicates_are_told_from_copies(tmp_path):
    twice = MIXTURES + "4,0.25,0.75\n"
    found = pair(tmp_path, twice, LOSSES + "4,2.01,1.5\n")
    assert [sorted(found.names[place] for place in places) for places in found.replicates()] == [["1", "4"]]
    with pytest.raises(DataError, match="runs 1 and 4 have the same mixture and the same losses"):
        pair(tmp_path, twice, LOSSES + "4,2.0,1.5\n")


@pytest.mark.parametrize(
    ("mixtures_", "losses", "message"),
    [
        (MIXTURES.replace("\n2,", "\n4,"), LOSSES, "in one of them only is run 2, run 4"),
        (MIXTURES + "1,0.5,0.5\n", LOSSES, "holds a run twice: run 1"),
        (MIXTURES.replace("0.5,0.5", "0.5,0.25"), LOSSES, "the weights of run 2 sum to 0.75; .*Is a domain missing"),
        (MIXTURES.replace("0.5,0.5", "1.5,-0.5"), LOSSES, "run 2 has a weight below 0"),
        (MIXTURES.replace("0.5,0.5", "0.5,"), LOSSES, "'train_code' is empty or not finite for run 2"),
        (MIXTURES, LOSSES.replace("1.5,1.75", "nan,1.75"), "'metric/web_val_loss' is empty or not finite for run 2"),
        (MIXTURES, LOSSES.replace("1.5,1.75", "diverged,1.75"), "holds string, not numbers"),
        (MIXTURES.replace("index", "id"), LOSSES, "share no column run_id or run or index"),
        (MIXTURES.replace("train_code", "train_web"), LOSSES, "has the column 'train_web' twice"),
        (MIXTURES, "index\n1\n2\n3\n", "has no column beside index"),
        ("index,train_web,train_code\n", "index,metric/web_val_loss\n", "mixture.csv holds no run"),
    ],
)
def test_what_is_no_table_of_runs_is_refused_by_name(tmp_path, mixtures_, losses, message):
    with pytest.raises(DataError, match=message):
        pair(tmp_path, mixtures_, losses)


def test_a_wide_table_is_refused_by_the_column_that_is_missing(tmp_path):
    (tmp_path / "wide.csv").write_text("run,web,code,ppl\nq,0.5,0.5,3.0\n")
    with pytest.raises(DataError, match="has no column weight/"):
        runs.read(tmp_path / "wide.csv")
    with pytest.raises(DataError, match="has no column 'books'; it has run, web, code, ppl"):
        runs.read(tmp_path / "wide.csv", domains=("web", "books"), targets=("ppl",))
    with pytest.raises(DataError, match=r"none.csv cannot be read"):
        runs.read(tmp_path / "none.csv")


def test_a_run_must_have_one_mixture_and_the_steps_of_the_others(tmp_path):
    head = "run,step,weight/a,weight/b,loss/x\n"
    (tmp_path / "r.csv").write_text(head + "p,1,0.5,0.5,3\np,2,0.25,0.75,2\n")
    with pytest.raises(DataError, match="run p has one mixture at one step and another"):
        runs.read(tmp_path / "r.csv")
    (tmp_path / "r.csv").write_text(head + "p,1,0.5,0.5,3\np,2,0.5,0.5,2\nq,1,0.25,0.75,2\n")
    with pytest.raises(DataError, match="run q lack losses at some step"):
        runs.read(tmp_path / "r.csv")
    (tmp_path / "r.csv").write_text(head + "p,1,0.5,0.5,3\np,1,0.5,0.5,2\n")
    with pytest.raises(DataError, match="holds a run twice: run p at step 1"):
        runs.read(tmp_path / "r.csv")


@pytest.mark.shared
def test_the_published_runs_are_read(shared):
    folder = shared / "data/evals/regmix"
    found = runs.pair(folder / "train_mixture_1m.csv", folder / "train_pile_loss_1m.csv")
    assert (len(found.names), len(found.domains), len(found.targets)) == (512, 17, 13)
    assert np.allclose(found.weights_ND.sum(1), 1, atol=1e-12)
    assert "0.996 to 1.003" in found.notes[0]
    assert found.targets[:2] == ("the_pile_arxiv", "the_pile_freelaw")
