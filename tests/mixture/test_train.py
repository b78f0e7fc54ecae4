"""mixture.train: runs that differ by their mixture, told apart from noise, resumed and taken over to the byte."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from pipeline.cli import Verbs
from pipeline.cli_mixture import mixture
from pipeline.errors import DataError
from pipeline.execution.local import LocalRunner
from pipeline.mixture import runs
from pipeline.mixture.train import check
from pipeline.mixture.train_params import TrainParams
from tests.corpora import tree, write_yaml
from tests.mixture.proxies import MIXTURES, SMALLEST, World, rows, write_mixtures

REPOSITORY = Path(__file__).parents[2]


class TestWhatIsAskedFor:
    def test_a_setting_may_be_changed_field_by_field(self):
        params = TrainParams(**SMALLEST, width=32, context=32)
        assert (params.model.width, params.model.layers, params.model.step_tokens) == (32, 2, 128)
        assert params.budget == 5_120
        assert params.judged_at == (20, 40)

    def test_what_is_no_training_is_refused(self):
        with pytest.raises(ValidationError, match="give at least 5,120"):
            TrainParams(**SMALLEST | {"budget_tokens": 5_000})
        with pytest.raises(ValidationError, match="no multiple of 2 x 3 heads"):
            TrainParams(**SMALLEST, heads=3)

    def test_the_table_of_mixtures_is_read_and_a_run_that_comes_twice_is_refused(self, tmp_path):
        found = runs.mixtures(write_mixtures(tmp_path / "m.parquet"))
        assert found.names == tuple(MIXTURES)
        assert found.seeds == (0, 0, 1, 2)
        assert found.weights(0) == {"alpha": 0.9, "beta": 0.1}
        twice = write_mixtures(tmp_path / "t.parquet", {"a": (0.5, 0.5, 1), "b": (0.5, 0.5, 1)})
        with pytest.raises(DataError, match="runs a and b have the same mixture and the same seed"):
            runs.mixtures(twice)

    @pytest.mark.torch
    def test_what_cannot_be_read_is_refused_before_anything_runs(self, tmp_path):
        (tmp_path / "bad.txt").write_bytes(b"\xff")
        for role in ("mixtures", "plan", "targets.x"):
            with pytest.raises(DataError, match=r"bad\.txt"):
                check(TrainParams(), {role: tmp_path / "bad.txt"})


@pytest.mark.torch
class TestTraining:
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        return World(tmp_path_factory.mktemp("world"))

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, world):
        return world.train("trained")

    def test_a_domain_costs_less_the_more_of_it_is_read(self, trained):
        found = runs.read(trained.root / "data/runs.parquet")
        place = {name: at for at, name in enumerate(found.names)}
        for domain, more, less in (("alpha", "a", "b"), ("beta", "b", "a")):
            losses = found.final(domain)
            assert losses[place[more]] < losses[place["prior-1"]] < losses[place[less]]
        assert found.steps == (10, 20)
        assert (found.losses_SNT[1] < found.losses_SNT[0]).all()

    def test_facts_tell_noise_repetition_and_what_kind_of_evidence_it_is(self, trained):
        facts = trained.manifest.facts
        for target in facts["targets"].values():
            assert 0 < target["noise"] < target["spread"]
        assert facts["domains"]["alpha"]["most_epochs"] == 0.9
        assert "a smoke test" in facts["notes"][0]

    def test_workers_change_no_byte(self, world, trained):
        with LocalRunner(2) as runner:
            again = world.train("again", runner)
        assert tree(again.root / "data") == tree(trained.root / "data")
        assert again.manifest.facts == trained.manifest.facts

    def test_a_killed_run_goes_on_and_ends_bit_identical(self, trained, tmp_path):
        steps = 27  # the second run is seven steps on its way
        command = [sys.executable, "-m", "tests.mixture.killed_training", str(tmp_path), str(steps)]
        assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
        assert [path.suffix for path in (tmp_path / "out/scratch/states").iterdir()] == [".pt"]
        left = subprocess.run([*command[:-1], str(4 * 20 - steps)], cwd=REPOSITORY, check=False)
        assert left.returncode == 0, "the second process has to take just the steps that the first did not"
        assert tree(tmp_path / "out/data") == tree(trained.root / "data")
        assert not (tmp_path / "out/scratch").exists()

    def test_mixtures_of_a_domain_that_is_not_there_are_refused(self, world, tmp_path):
        table = pq.read_table(world.mixtures)
        names = [name.replace("beta", "gamma") for name in table.column_names]
        pq.write_table(table.rename_columns(names), tmp_path / "m.parquet")
        with pytest.raises(DataError, match="weigh a domain 'gamma' that the documents do not have"):
            world.train("gamma", wired={"mixtures": tmp_path / "m.parquet"})

    def test_the_command_trains_and_a_longer_table_trains_the_new_mixtures_only(self, tmp_path, monkeypatch):
        from pipeline.mixture import proxies

        real, seen = proxies.trained, []
        monkeypatch.setattr(proxies, "trained", lambda run, *rest: seen.append(run.key) or real(run, *rest))
        documents = []
        for domain in ("alpha", "beta"):
            (tmp_path / f"{domain}.jsonl").write_text(
                "".join(json.dumps({"text": text}) + "\n" for text, of in rows() if of == domain)
            )
            documents += ["--documents", f"{domain}={tmp_path / domain}.jsonl"]
        profile = write_yaml(tmp_path / "here.yaml", {"root": str(tmp_path / "root"), "workers": 1})
        params = write_yaml(tmp_path / "params.yaml", SMALLEST)
        rest = ["--to", tmp_path / "runs.parquet", "--on", profile, "--params", params, "--json"]

        def train(mixtures):
            write_mixtures(tmp_path / "mixtures.parquet", mixtures)
            arguments = ["mixture", "train", tmp_path / "mixtures.parquet", *documents, *rest]
            found = CliRunner().invoke(Verbs(commands={"mixture": mixture}), [str(a) for a in arguments])
            assert found.exit_code == 0, found.output
            return json.loads(found.output), pq.read_table(tmp_path / "runs.parquet").to_pylist()

        some = {name: MIXTURES[name] for name in ("a", "prior-1")}
        told, first = train(some)
        assert told["runs"] == 2
        assert len(seen) == 2
        _, second = train({"new": MIXTURES["b"], "renamed": MIXTURES["a"], "prior-1": MIXTURES["prior-1"]})
        assert len(seen) == 3, "two of the three were trained before"
        assert [row | {"run": "a"} for row in second if row["run"] == "renamed"] == first[:2]
