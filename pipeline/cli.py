"""The command line: verbs, exit codes (0 done, 1 failed, 2 wrong configuration, 130 stopped) and nothing else.

What is heavy is imported by the verb that needs it, so that `--help` answers at once.
"""

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import click

from pipeline import __version__
from pipeline.cli_mixture import mixture
from pipeline.cli_tokenizer import tokenizer

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Verbs(click.Group):
    """Runs a verb; whatever it raises becomes a message and an exit code, never a traceback on the screen."""

    def invoke(self, ctx: click.Context) -> Any:
        from pipeline.errors import ConfigError, PipelineError

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _fail(str(error), 2)
        except PipelineError as error:
            _fail(str(error), 1)
        except KeyboardInterrupt:
            _fail(
                "stopped; nothing is left running, finished shards are kept: the same command goes on from there", 130
            )
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:
            _fail(f"a defect of corpusmill: {type(error).__name__}: {error}\nthe whole story is in {_crash_log()}", 1)


def _fail(message: str, code: int) -> None:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": message, "exit": code}, ensure_ascii=False))
    click.echo(f"error: {message}", err=True)
    sys.exit(code)


def _crash_log() -> str:
    with tempfile.NamedTemporaryFile("w", prefix="corpusmill-", suffix=".log", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name


def _as_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json`, which every verb has."""
    return click.option("--json", "machine", is_flag=True, help="Print one JSON object for machines.")(command)


def on_profile(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--on PROFILE`."""
    text = "Where and how to run (YAML). Default: this machine, data/build."
    return click.option("--on", "profile", type=click.Path(), metavar="PROFILE", help=text)(command)


@click.group(cls=Verbs, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="corpusmill")
def main() -> None:
    """Raw Parquet text to training-ready token arrays: deduplicated, scored, mixed, tokenized, packed.

    \b
    Start here:  corpusmill sample data/sample
                 corpusmill build configs/builds/demo.yaml
    """


@main.command()
@click.argument("directory", type=click.Path())
@as_json
def sample(directory: str, machine: bool) -> None:
    """Make a real multi-domain corpus in DIRECTORY out of pinned packages, licences beside it.

    \b
    Example:  corpusmill sample data/sample
    """
    from dataclasses import asdict

    import pipeline

    made = pipeline.sample(directory, tell=(lambda line: None) if machine else click.echo)
    if machine:
        _as_json(json.loads(json.dumps(asdict(made), default=str)))


@main.command()
@click.argument("recipe", type=click.Path())
@on_profile
@as_json
def plan(recipe: str, profile: str | None, machine: bool) -> None:
    """Show what a build of RECIPE would run, what it would keep and why. Changes nothing.

    \b
    Example:  corpusmill plan configs/builds/demo.yaml --on configs/local.yaml
    """
    import pipeline

    planned = pipeline.plan(recipe, profile)
    rows = planned.table()
    if machine:
        notes = list(planned.notes)
        _as_json({"name": planned.recipe.name, "root": str(planned.profile.root), "steps": rows, "notes": notes})
        return
    from pipeline.screen import human, print_table

    click.echo(f"{planned.recipe.name}: {len(rows)} steps on {planned.profile.runner}, root {planned.profile.root}")
    cells = [
        (r["step"], r["stage"], r["state"], r["rows"], None if r["bytes"] is None else human(r["bytes"]), r["why"])
        for r in rows
    ]
    print_table(("step", "stage", "state", "rows", "bytes", "why"), cells, right=("rows", "bytes"))
    for note in planned.notes:
        click.echo(f"note: {note}")
    run = sum(row["state"] == "run" for row in rows)
    click.echo(f"{run} to run, {len(rows) - run} kept" if run else "nothing to do: every step is finished")


@main.command()
@click.argument("recipe", type=click.Path())
@on_profile
@as_json
def build(recipe: str, profile: str | None, machine: bool) -> None:
    """Build RECIPE: check everything first, run what is not finished, keep the rest.

    \b
    Example:  corpusmill build configs/builds/demo.yaml --on configs/ray.yaml
    Exit:     0 done, 1 failed (the same command goes on), 2 wrong configuration, nothing has run
    """
    import pipeline

    if machine:
        built = pipeline.build(recipe, profile)
        corpora = {name: {"path": str(c.root), "rows": c.manifest.rows} for name, c in built.corpora.items()}
        _as_json({"name": built.name, "path": str(built.folder), "steps": corpora})
        return
    from pipeline.config import Profile, load
    from pipeline.screen import StepLines

    where = load(profile, Profile) if profile else Profile()
    click.echo(f"build {recipe} on {where.runner}, root {where.root}")
    with StepLines() as lines:
        built = pipeline.build(recipe, where, watcher=lines)
    click.echo(f"done: {built.folder}    (next: corpusmill report {built.folder})")


@main.command()
@click.argument("path", type=click.Path())
@click.option("--row", type=int, help="Which row or sequence to show as the example.")
@click.option("--verify", is_flag=True, help="Read every file again and compare its checksum.")
@as_json
def show(path: str, row: int | None, verify: bool, machine: bool) -> None:
    """Describe a corpus, a build, packed sequences or plain Parquet: schema, counts, domains, a decoded example.

    \b
    Example:  corpusmill show data/build/builds/demo
    """
    import pipeline

    found = pipeline.show(path, row=row, verify=verify)
    if machine:
        _as_json(found.to_json())
    else:
        click.echo(found.to_text())
    if found.damage:
        sys.exit(1)


@main.command()
@click.argument("build", type=click.Path())
@click.option("--to", type=click.Path(), help="Where to write the page. Default: report.html in the build's folder.")
@on_profile
@as_json
def report(build: str, to: str | None, profile: str | None, machine: bool) -> None:
    """Write one self-contained HTML page about a finished BUILD (its folder, its recipe or its name); print its path.

    \b
    Example:  corpusmill report data/build/builds/demo
    """
    import pipeline

    path = pipeline.report(build, to, on=profile)
    _as_json({"path": str(path)}) if machine else click.echo(str(path))


@main.command()
@click.argument("build", type=click.Path())
@click.argument("doc_id")
@click.option("--source-id", is_flag=True, help="DOC_ID is the id that the document had in its source.")
@click.option("--full", is_flag=True, help="Show the whole difference of the two texts.")
@on_profile
@as_json
def duplicates(build: str, doc_id: str, source_id: bool, full: bool, profile: str | None, machine: bool) -> None:
    """Say why a document of a finished BUILD was dropped or kept: its keeper, its copies, what differs.

    \b
    DOC_ID is the document's doc_id in hex, or its first 8 digits or more.
    Example:  corpusmill duplicates data/build/builds/demo 05daed0e
    """
    import pipeline

    found = pipeline.duplicates(build, doc_id, on=profile, source_id=source_id, full=full)
    _as_json(found.to_json()) if machine else click.echo(found.to_text())


@main.command("verify-selection")
@click.argument("recipe", type=click.Path())
@click.option("--targets", multiple=True, required=True, metavar="FILES...", help="Texts the selection is meant for.")
@click.argument("more", nargs=-1, metavar="")
@click.option("--step", help="The step that selected. Default: the one of quality.select.")
@click.option("--setting", default="tiny", show_default=True, help="Size of the models: smoke, tiny, small or medium.")
@click.option("--budget-tokens", type=int, help="What each run is trained for. Default: what fits the setting.")
@click.option("--random", default=5, show_default=True, help="How many random subsets; 5 or more.")
@click.option("--seeds", default=2, show_default=True, help="How many runs on the selection; 2 or more.")
@click.option("--target-bytes", default=200_000, show_default=True, help="How much text of each target is read.")
@click.option("--text", default="text", show_default=True, help="The column of the targets' text.")
@click.option("--require", type=click.Choice(["better"]), help="Exit with 1 unless this is the verdict.")
@on_profile
@as_json
def verify_selection(
    recipe: str,
    targets: tuple[str, ...],
    more: tuple[str, ...],
    profile: str | None,
    require: str | None,
    machine: bool,
    **params: Any,
) -> None:
    """Say whether the selection of a finished build of RECIPE helps: train small models on it and on random subsets.

    \b
    FILES are Parquet, JSON Lines or text, as FILE or NAME=FILE; they were held out of the build.
    Example:  corpusmill verify-selection configs/builds/demo.yaml --targets held_out/*.parquet
    Exit:     0 whatever the verdict, 1 failed or not as required, 2 wrong configuration, nothing has run
    """
    import pipeline

    files = [*targets, *more]
    if machine:
        found = pipeline.verify_selection(recipe, files, profile, **params)
        _as_json(found.to_json())
    else:
        from pipeline.screen import StepLines, print_table

        with StepLines() as lines:
            found = pipeline.verify_selection(recipe, files, profile, watcher=lines, **params)
        for head, rows in (found.runs(), found.comparisons()):
            print_table(head, rows, right=[name for name in head if name not in ("run", "bits per byte", "verdict")])
        click.echo(f"verdict: {found.verdict}")
    if require and found.verdict != require:
        sys.exit(1)


@main.command()
@click.argument("left", type=click.Path())
@click.argument("right", type=click.Path())
@as_json
def explain(left: str, right: str, machine: bool) -> None:
    """Say why two corpora, or two builds, have different fingerprints, field by field.

    \b
    Example:  corpusmill explain data/build/corpora/dedup.keep-1f0e... data/build/corpora/dedup.keep-77ab...
    """
    import pipeline

    found = pipeline.explain(left, right)
    if machine:
        _as_json([difference.to_json() for difference in found])
        return
    if not found:
        click.echo("the same: no field differs")
        return
    from pipeline.screen import print_table

    print_table(("step", "field", "left", "right"), [(d.step, d.field, str(d.left), str(d.right)) for d in found])


@main.command()
@click.argument("directory", type=click.Path())
@as_json
def init(directory: str, machine: bool) -> None:
    """Write a starter recipe and profile, with comments, into DIRECTORY.

    \b
    Example:  corpusmill init my-corpus
    """
    import pipeline

    paths = [str(path) for path in pipeline.init(directory)]
    _as_json({"paths": paths}) if machine else click.echo("\n".join(paths))


main.add_command(mixture)
main.add_command(tokenizer)
