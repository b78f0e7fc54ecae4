"""The verbs `corpusmill mixture ...`: draw mixtures, read runs, fit laws, recommend, each on plain files.

They do what the stages of the same names do in a build. What is heavy is imported by the verb that needs it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

FILE = click.Path(path_type=Path, dir_okay=False)
SETTINGS = "Parameters of the stage of this name, as YAML (docs/mixture.md)."


@click.group()
def mixture() -> None:
    """Which mixture to train on: draw some, train proxies on them, read the runs, fit laws, recommend.

    \b
    Start here:  corpusmill mixture sample plan.json --to mixtures
                 corpusmill mixture train mixtures.parquet --documents web=web.parquet ... --to runs.parquet
                 corpusmill mixture fit runs.parquet --to fit.json
                 corpusmill mixture recommend fit.json --plan plan.json --to weights.json
    """


def _machine(command: Any) -> Any:
    return click.option("--json", "machine", is_flag=True, help="Print one JSON object for machines.")(command)


def _settings(command: Any) -> Any:
    return click.option("--params", type=FILE, help=SETTINGS)(command)


@mixture.command()
@click.argument("plan", type=FILE, required=False)
@click.option("--to", type=click.Path(path_type=Path), required=True, help="Writes TO.parquet and TO.csv.")
@click.option("--surface", type=FILE, help="A surface.parquet that screens the draws (parameter `screen`).")
@_settings
@_machine
def sample(plan: Path | None, to: Path, surface: Path | None, params: Path | None, machine: bool) -> None:
    """Draw mixtures around what PLAN (a plan.json) has available, or around the `prior` of --params.

    \b
    Example:  corpusmill mixture sample plan.json --to mixtures
    """
    from pipeline.mixture.bounds import available
    from pipeline.mixture.sample import SampleParams, contents, draw

    given = _params(params, SampleParams)
    made = draw(given, available(given.prior, plan, "prior"), surface)
    paths = [_written(to.with_name(f"{to.name}.{kind}"), content) for kind, content in contents(made).items()]
    told = {"paths": paths, "mixtures": given.mixtures, "replicates": given.replicates}
    _tell(told, machine, [f"{given.mixtures} mixtures and {given.replicates} runs of the prior: {' '.join(paths)}"])


@mixture.command()
@click.argument("mixtures", type=FILE)
@click.option(
    "--documents", multiple=True, required=True, metavar="DOMAIN=PATH", help="A domain's files; give it often."
)
@click.option(
    "--targets", multiple=True, metavar="NAME=FILE", help="Texts to judge on. Default: held out of each domain."
)
@click.option("--plan", type=FILE, help="A plan.json that tells the target's budget and the tokens available.")
@click.option("--to", type=FILE, required=True, help="Where to write the runs (Parquet).")
@click.option("--on", "profile", type=FILE, help="Where and how to run (YAML). Default: this machine, data/build.")
@_settings
@_machine
def train(
    mixtures: Path,
    documents: Sequence[str],
    targets: Sequence[str],
    plan: Path | None,
    to: Path,
    profile: Path | None,
    params: Path | None,
    machine: bool,
) -> None:
    """Train a small model on every mixture of MIXTURES, and write what each costs on every target.

    \b
    The documents should be free of duplicates. A run that was stopped goes on with the same command.
    Example:  corpusmill mixture train mixtures.parquet --documents web=web --documents code=code --to runs.parquet
    """
    import pipeline
    from pipeline.mixture.train_params import TrainParams
    from pipeline.recipe import Recipe, StepConfig

    given = _params(params, TrainParams)
    files = {"mixtures": str(mixtures)} | ({"plan": str(plan)} if plan else {})
    files |= {f"targets.{name}": path for name, path in _named(targets, "--targets").items()}
    inputs = {"documents": "documents"} | {role: f"file:{path}" for role, path in files.items()}
    steps = {"runs": StepConfig(stage="mixture.train", inputs=inputs, params=given.model_dump(exclude_none=True))}
    recipe = Recipe.model_validate(
        {"name": f"mixture-train-{mixtures.stem}", "sources": _named(documents, "--documents"), "steps": steps}
    )
    corpus = pipeline.build(recipe, on=profile)["runs"]
    path, facts = _written(to, (corpus.root / "data" / "runs.parquet").read_bytes()), corpus.manifest.facts
    lines = [f"{facts['runs']} runs on {len(facts['targets'])} targets: {path}"]
    _tell({"path": path, **facts}, machine, [*lines, *(f"note: {note}" for note in facts["notes"])])


@mixture.command("import")
@click.argument("tables", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--to", type=FILE, required=True, help="Where to write the runs (Parquet).")
@click.option("--domain", "domains", multiple=True, help="A column of weights in a wide table; give it often.")
@click.option("--target", "targets", multiple=True, help="A column of losses in a wide table; give it often.")
@_machine
def import_(tables: Sequence[Path], to: Path, domains: Sequence[str], targets: Sequence[str], machine: bool) -> None:
    """Read runs from TABLES: mixtures and losses (RegMix), a folder (Olmix), or one wide table.

    \b
    Example:  corpusmill mixture import train_mixture_1m.csv train_pile_loss_1m.csv --to runs.parquet
    """
    from pipeline.mixture import runs
    from pipeline.mixture.sample import contents

    found = runs.any_layout(tables, domains, targets)
    path = _written(to, contents(found.table())["parquet"])
    told = {"path": path, "runs": len(found.names), "domains": found.domains, "targets": found.targets}
    lines = [f"{len(found.names)} runs of {len(found.domains)} domains, {len(found.targets)} targets: {path}"]
    _tell(told | {"notes": found.notes}, machine, [*lines, *(f"note: {note}" for note in found.notes)])


@mixture.command()
@click.argument("runs", type=FILE)
@click.option("--to", type=FILE, required=True, help="Where to write the laws (JSON).")
@click.option("--surface", type=FILE, help="A surface.parquet, tried as a control variate.")
@_settings
@_machine
def fit(runs: Path, to: Path, surface: Path | None, params: Path | None, machine: bool) -> None:
    """Fit laws to RUNS and say, target by target, which holds and how well.

    \b
    Example:  corpusmill mixture fit runs.parquet --to fit.json
    """
    from pipeline.mixture import runs as tables
    from pipeline.mixture.fit import FitParams, fit_runs, story, to_json
    from pipeline.mixture.gates import doubts, gates
    from pipeline.mixture.surfaces import read_laws
    from pipeline.screen import print_table

    given = _params(params, FitParams)
    read = tables.read(runs, given.domains, given.targets)
    found = fit_runs(read, given.laws, read_laws(surface, read.domains) if surface else None)
    told = story(found)
    path, asked = _written(to, to_json(found, told).encode()), gates(told)
    if machine:
        _tell({"path": path, "targets": told, "gates": asked}, machine, [])
        return
    rows = []
    for name, target in told.items():
        held = target["held_out"][target["law"]]
        figures = (f"{held['spearman']:.3f}", f"{held['rmse']:.4f}", f"{target['spread']:.4f}")
        rows.append((name, target["law"], *figures, target["more_runs"]))
    right = ("rank", "error", "spread")
    print_table(("target", "law", *right, "more runs"), rows, right=right)
    for doubt in doubts(asked):
        click.echo(f"note: {doubt}")
    click.echo(path)


@mixture.command()
@click.argument("fit", type=FILE)
@click.option("--plan", type=FILE, help="A plan.json that tells the tokens available.")
@click.option("--to", type=FILE, required=True, help="Where to write the weights (JSON).")
@click.option("--next", "further", type=click.Path(path_type=Path), help="Writes NEXT.parquet and .csv (`batch` many).")
@_settings
@_machine
def recommend(fit: Path, plan: Path | None, to: Path, further: Path | None, params: Path | None, machine: bool) -> None:
    """Recommend a mixture by the laws in FIT, beside the natural, uniform, tempered and best observed ones.

    \b
    Example:  corpusmill mixture recommend fit.json --plan plan.json --to weights.json
    """
    from pipeline.errors import ConfigError
    from pipeline.mixture import recommend as stage
    from pipeline.mixture.bounds import available
    from pipeline.mixture.fit import from_json
    from pipeline.mixture.sample import contents

    given = _params(params, stage.RecommendParams)
    if (further is None) != (given.batch == 0):
        raise ConfigError("--next and the parameter `batch`, how many runs to name, come together")
    problem = stage.problem(from_json(fit), given, available(given.available, plan, "available"))
    told = stage.to_json(problem, stage.recommend(problem, given))
    paths = [_written(to, stage.as_text(told).encode())]
    if further is not None:
        made = contents(stage.next_table(problem, given))
        paths += [_written(further.with_name(f"{further.name}.{kind}"), content) for kind, content in made.items()]
    if machine:
        _tell(told | {"paths": paths}, machine, [])
        return
    _print_recommendation(told)
    click.echo("\n".join(paths))


def _print_recommendation(told: Mapping[str, Any]) -> None:
    from pipeline.screen import print_table

    names = list(told["compared"])
    rows = [(d, *(f"{told['compared'][n]['weights'][d]:.4f}" for n in names)) for d in told["weights"]]
    losses = [f"{told['compared'][n]['loss']:.4f}" for n in names]
    low, high = ([f"{told['compared'][n]['interval'][side]:.4f}" for n in names] for side in (0, 1))
    rows += [("expected loss", *losses), ("90 % of runs from", *low), ("to", *high)]
    print_table(("", *names), rows, right=names)
    click.echo(f"gain over natural {told['gain_over_natural']:.4f}, the laws' error {told['gain_error']:.4f}")
    click.echo(f"method: {told['method']}")
    for note in told["notes"]:
        click.echo(f"note: {note}")


def _named(given: Sequence[str], option: str) -> dict[str, str]:
    """Return NAME=PATH pairs by name."""
    from pipeline.errors import ConfigError

    pairs = [text.partition("=") for text in given]
    names = [name for name, _, _ in pairs]
    if wrong := [text for text, (name, _, path) in zip(given, pairs, strict=True) if not (name and path)]:
        raise ConfigError(f"{option}: {wrong[0]!r} is not NAME=PATH")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"{option}: {twice[0]!r} is given twice; name a folder or a pattern for several files")
    return {name: path for name, _, path in pairs}


def _params(path: Path | None, kind: Any) -> Any:
    from pipeline.config import load

    return load(path, kind) if path else kind()


def _written(path: Path, content: bytes) -> str:
    from pipeline.errors import ConfigError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}") from None
    return str(path)


def _tell(told: Mapping[str, Any], machine: bool, lines: Sequence[str]) -> None:
    click.echo(json.dumps(told, ensure_ascii=False) if machine else "\n".join(lines))
