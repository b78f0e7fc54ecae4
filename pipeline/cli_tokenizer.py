"""The verbs `corpusmill tokenizer ...`. What is heavy is imported by the verb that needs it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.tokens.report import Source

PATH = click.Path(path_type=Path)


@click.group()
def tokenizer() -> None:
    """How well vocabularies fit a corpus.

    \b
    Start here:  corpusmill tokenizer report data/build/builds/demo --on data/build/builds/demo
    """


@tokenizer.command()
@click.argument("tokenizers", type=PATH, nargs=-1, required=True)
@click.option(
    "--on",
    "paths",
    type=PATH,
    multiple=True,
    required=True,
    help="Parquet, a folder of it, or a build: of it, the documents that it keeps.",
)
@click.option(
    "--parallel",
    type=PATH,
    help="The same sentences in several languages: one column a language, rows that lack one left out.",
)
@click.option("--text", default="text", show_default=True, help="The column of text.")
@click.option(
    "--domain",
    default="domain",
    show_default=True,
    help="The column of domains or languages; a file without it is one.",
)
@click.option("--mb", type=click.IntRange(1), default=20, show_default=True, help="How much text is looked at.")
@click.option("--least", type=click.IntRange(1), default=10, show_default=True, help="Rarer tokens are under-trained.")
@click.option("--json", "machine", is_flag=True, help="Print one JSON object for machines.")
def report(
    tokenizers: Sequence[Path],
    paths: Sequence[Path],
    parallel: Path | None,
    text: str,
    domain: str,
    mb: int,
    least: int,
    machine: bool,
) -> None:
    """Compare TOKENIZERS (tokenizer.json files, or builds that have one) on a corpus, side by side.

    \b
    Example:  corpusmill tokenizer report a.json b.json --on data/sample/docs --parallel sentences.parquet
    """
    from pipeline.tokens import parallel as tables
    from pipeline.tokens import report as figures

    sentences = tables.read(parallel) if parallel else None
    files = list(dict.fromkeys(_tokenizer(path) for path in tokenizers))
    texts = figures.texts_of(_sources(paths), figures.Columns(text, domain), mb * 1_000_000)
    told = figures.report(files, texts, sentences, least)
    if machine:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    _print(told, least)


def _print(told: Mapping[str, Any], least: int) -> None:
    from pipeline.screen import print_table

    rows = told["rows"]
    documents, size = sum(told["documents"].values()), sum(told["bytes"].values())
    click.echo(f"{documents:,} documents, {size / 1e6:,.1f} MB of text, domains: {', '.join(told['bytes'])}")
    if "sentences" in told:
        click.echo(f"{told['sentences']:,} parallel sentences, the same in every language")
    numbers = {path: place + 1 for place, path in enumerate(dict.fromkeys(row["tokenizer"] for row in rows))}
    for path, number in numbers.items():
        click.echo(f"{number}  {path}")
    names = [f"{numbers[row['tokenizer']]} {row['segmentation']}" for row in rows]
    head = ("vocabulary", "bytes/token", "tokens/word", "Renyi", "unused", f"under {least}")
    cells = [
        (name, r["vocabulary"], *_numbers(r), r["unused"], r["under_trained"])
        for name, r in zip(names, rows, strict=True)
    ]
    print_table(("", *head), cells, right=head)
    by_domain = {
        title: {domain: [row["domains"][domain][field] for row in rows] for domain in told["bytes"]}
        for title, field in (("bytes/token", "bytes_a_token"), ("tokens/word", "fertility"), ("unused", "unused"))
    }
    if "premiums" in rows[0]:
        title = f"premium over {rows[0]['reference']}"
        by_domain[title] = {language: [row["premiums"][language] for row in rows] for language in rows[0]["premiums"]}
        by_domain[title]["(Gini)"] = [row["gini"] for row in rows]
    for title, values in by_domain.items():
        print_table((title, *names), [(name, *map(_shown, some)) for name, some in values.items()], right=names)
    for path, number in numbers.items():
        row = next(row for row in rows if row["tokenizer"] == path)
        click.echo(f"{number}, longest: {_listed(token['token'] for token in row['longest'])}")
        click.echo(f"{number}, last by id of those under {least}: {_listed(reversed(row['rare']))}")


def _numbers(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{row[name]:.3f}" for name in ("bytes_a_token", "fertility", "renyi_efficiency"))


def _shown(value: float) -> int | str:
    return value if isinstance(value, int) else f"{value:.3f}"


def _listed(tokens: Iterable[str]) -> str:
    return " ".join(repr(token[:40]) for token in islice(tokens, 5)) or "none"


def _tokenizer(path: Path) -> Path:
    """Return the tokenizer.json that is meant: the file itself, or that of a folder, a corpus or a build.

    Of a build that is the one it trained, or the copy of the one it was given, which lies beside its sequences.
    """
    from pipeline import records
    from pipeline.errors import ConfigError

    if not path.is_dir():
        return path
    if record := records.read_record(path):
        trained = any(step["stage"] == "tokens.train" for step in record["steps"].values())
        stage = "tokens.train" if trained else "tokens.pack"
        return records.corpus_of(path, stage).root / "data" / "tokenizer.json"
    for found in (path / "tokenizer.json", path / "data" / "tokenizer.json"):
        if found.exists():
            return found
    raise ConfigError(f"{path} holds no tokenizer.json, and no build; name a tokenizer.json")


def _sources(paths: Sequence[Path]) -> "list[Source]":
    """Return the Parquet files that are meant; of a build, those of the documents it keeps, with their masks."""
    from pipeline import builds, kept, records
    from pipeline.errors import ConfigError
    from pipeline.tokens.report import Source

    found: list[Source] = []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"there is nothing at {path} (looked in {Path.cwd()})")
        if (path / records.BUILD).exists():
            documents, mask = kept.kept(builds.open_build(path))
            shards = documents.manifest.shards
            found += [Source(documents.path(shard), mask.path(shard) if mask else None) for shard in shards]
        elif path.is_dir():
            found += [Source(file) for file in sorted(path.rglob("*.parquet"))]
        else:
            found.append(Source(path))
    if not found:
        raise ConfigError(f"no Parquet file in {', '.join(map(str, paths))}")
    return found
