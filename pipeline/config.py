"""Two YAML files become two frozen models: a Recipe says what to build, a Profile says where and how.

Every value of a recipe is part of some fingerprint; no value of a profile changes an output byte.
"""

import difflib
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from pipeline.corpus import Frozen
from pipeline.dedup import sensitivity
from pipeline.dedup.sensitivity import Bands, Preset
from pipeline.errors import ConfigError
from pipeline.quality.labels import Labels

M = TypeVar("M", bound=Frozen)


class Source(Frozen):
    """One domain of raw text: where its files are and how their columns are called."""

    paths: tuple[str, ...] = Field(min_length=1)
    text: str = "text"
    id: str | None = None
    extra: tuple[str, ...] = ()
    format: Literal["auto", "parquet", "jsonl"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        """Accept `domain: path` and `domain: [path, path]` for the common case."""
        if isinstance(value, str):
            return {"paths": [value]}
        if isinstance(value, list):
            return {"paths": value}
        if isinstance(value, dict) and isinstance(value.get("paths"), str):
            return value | {"paths": [value["paths"]]}
        return value


class Ingest(Frozen):
    """How raw rows become documents."""

    quarantine_limit: float = Field(0.001, ge=0, le=1)
    unreadable_files: Literal["fail", "quarantine"] = "fail"
    shard_mb: int = Field(64, ge=1, le=4096)


class Dedup(Frozen):
    """Removal of exact, then of near duplicates; of passages before, of repeated byte sequences after, where asked.

    `lines`, `paragraphs`, `substrings` and `bloom` take the params of the stages dedup.lines ...; named alone they take
    the defaults.

    Which near duplicates are found is asked for by a `preset`, by the `recall` at the threshold, or by `bands` and
    `rows`; by default there are 20 bands of 6 rows.
    """

    lines: dict[str, Any] | None = None
    paragraphs: dict[str, Any] | None = None
    substrings: dict[str, Any] | None = None
    bloom: dict[str, Any] | None = None
    exact: bool = True
    near: bool = True
    threshold: float = Field(0.8, gt=0, le=1)
    ngram: int = Field(5, ge=1)
    unit: Literal["word", "byte"] = "word"
    hashing: Literal["native", "datasketch"] = "native"
    preset: Preset | None = None
    recall: float | None = Field(None, gt=0, lt=1)
    bands: int | None = Field(None, ge=1)
    rows: int | None = Field(None, ge=1)
    containment: float | None = Field(None, gt=0, le=1)
    keep: Literal["longest", "best_score", "oldest", "newest", "source_priority"] = "longest"
    priority: tuple[str, ...] = ()
    column: str | None = None
    source_cap: float | None = Field(None, gt=0, le=1)
    earlier: tuple[str, ...] = ()
    earlier_wins: bool = True
    index: Literal["none", "own", "compact"] = "none"
    withdraw: str | None = None

    @field_validator("lines", "paragraphs", "substrings", "bloom", mode="before")
    @classmethod
    def _named_alone_means_defaults(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _a_stream_is_read_once(self) -> "Dedup":
        if self.bloom is not None and self.exact:
            raise ValueError("`bloom` finds exact copies approximately: set `exact: false` beside it, or leave it out")
        return self

    @model_validator(mode="after")
    def _an_index_knows_both_kinds(self) -> "Dedup":
        if (self.index != "none" or self.earlier) and not (self.exact and self.near):
            raise ValueError("an index is of exact and of near copies: leave `exact` and `near` on, or leave it out")
        if self.index == "compact" and not self.earlier:
            raise ValueError("index: compact merges the indexes of `earlier` builds; name them, or say index: own")
        return self

    @model_validator(mode="after")
    def _bands_asked_for_in_one_way(self) -> "Dedup":
        given = [name for name in ("preset", "recall", "bands", "rows") if getattr(self, name) is not None]
        if given in (["bands"], ["rows"]):
            raise ValueError(f"`bands` and `rows` go together; {given[0]} is given alone")
        if len(given) > 1 and given != ["bands", "rows"]:
            raise ValueError(
                f"give at most one of `preset`, `recall`, and `bands` with `rows`; given are {', '.join(given)}"
            )
        self.shape()
        return self

    def shape(self) -> Bands:
        """Return the bands and rows that are asked for."""
        if self.preset is not None:
            return sensitivity.PRESETS[self.preset]
        if self.recall is not None:
            return sensitivity.solved(self.threshold, self.recall)
        return Bands(self.bands, self.rows) if self.bands and self.rows else sensitivity.DEFAULT


class Quality(Frozen):
    """A fastText classifier, trained here or brought along, and how much of its ranking is kept."""

    model: str | None = None
    label: str | None = None
    positive: Labels | None = None
    negative: Labels | None = None
    share: float | None = Field(None, gt=0, le=1)
    threshold: float | None = Field(None, ge=0, le=1)
    by: Literal["bytes", "tokens", "documents"] = "bytes"
    scope: Literal["overall", "domain"] = "overall"
    exempt: tuple[str, ...] = ()
    label_only: tuple[str, ...] = ()
    train: dict[str, Any] = {}

    def labels(self) -> dict[str, Labels]:
        """Return the classes to train from, by name; none when a model is brought along."""
        sides = {"positive": self.positive, "negative": self.negative}
        return {side: labels for side, labels in sides.items() if labels is not None}

    @model_validator(mode="after")
    def _one_of_each(self) -> "Quality":
        if (self.model is None) == (self.positive is None and self.negative is None):
            raise ValueError("give either `model` (a fastText .bin) or `positive` and `negative` to train one")
        if self.model is None and (self.positive is None or self.negative is None):
            raise ValueError("training needs both `positive` and `negative`")
        if (self.share is None) == (self.threshold is None):
            raise ValueError("give exactly one of `share` (how much is kept) and `threshold` (the lowest score kept)")
        return self


class Mixture(Frozen):
    """Shares of the domains in what is trained on, and how much that is."""

    weights: Literal["natural", "uniform"] | dict[str, float] = "natural"
    temperature: float | None = Field(None, gt=0)
    budget_tokens: int | None = Field(None, gt=0)
    max_epochs: float = Field(4, gt=0)
    on_cap: Literal["redistribute", "fail", "shrink"] = "redistribute"


class Tokens(Frozen):
    """The vocabulary, the length of a training sequence and further formats."""

    tokenizer: str | None = None
    vocab_size: int = Field(16384, ge=300)
    train_mb: int = Field(10, ge=1)
    eos: str | None = None
    sequence_length: int = Field(2048, ge=8)
    export: tuple[Literal["megatron"], ...] = ()


class StepConfig(Frozen):
    """One node of the graph: a stage, its params, and which step or file plays each input.

    A stage of one's own is `module:name`; its `version` is then declared here. An input is the name of a step,
    `file:PATH`, or `build:STAGE@BUILD` for what a stage made in an earlier build. A new step `after` a deciding one
    reads its mask, and whatever read that one reads the new step's.
    """

    stage: str = ""
    version: int | None = None
    after: str = ""
    inputs: dict[str, str] = {}
    params: dict[str, Any] = {}


class Recipe(Frozen):
    """What to build."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0, lt=1 << 32)
    sources: dict[str, Source] = Field(min_length=1)
    ingest: Ingest = Ingest()
    dedup: Dedup | None = None
    quality: Quality | None = None
    mixture: Mixture | None = None
    tokens: Tokens | None = None
    steps: dict[str, StepConfig] = {}

    @field_validator("ingest", "dedup", "mixture", "tokens", "steps", mode="before")
    @classmethod
    def _named_alone_means_defaults(cls, value: Any) -> Any:
        """`dedup:` with nothing behind it asks for the section with its defaults; leaving it out leaves it out."""
        return {} if value is None else value

    @model_validator(mode="after")
    def _names_are_domains(self) -> "Recipe":
        for place, names in self._named_domains().items():
            for name in names:
                if name not in self.sources:
                    raise ValueError(f"{place}: no source is called {name!r}{suggestion(name, list(self.sources))}")
        for place, column in self._named_columns().items():
            if not any(column in source.extra for source in self.sources.values()):
                raise ValueError(f"{place}: no source carries a column {column!r}; name it in a source's `extra`")
        return self

    def _named_domains(self) -> dict[str, tuple[str, ...]]:
        """Return every place of the recipe that names domains, with the names."""
        named: dict[str, tuple[str, ...]] = {}
        if self.dedup:
            named["dedup.priority"] = self.dedup.priority
        if self.quality:
            quality = self.quality
            named |= {"quality.exempt": quality.exempt, "quality.label_only": quality.label_only}
            named |= {f"quality.{side}": labels.domains for side, labels in quality.labels().items()}
        if self.mixture and isinstance(self.mixture.weights, dict):
            named["mixture.weights"] = tuple(self.mixture.weights)
        return named

    def _named_columns(self) -> dict[str, str]:
        """Return every place of the recipe that names a column of the documents, with the column."""
        sides = self.quality.labels() if self.quality else {}
        named = {f"quality.{side}.column": labels.column for side, labels in sides.items() if labels.column}
        if self.dedup and self.dedup.column:
            named["dedup.column"] = self.dedup.column
        return named


class Profile(Frozen):
    """Where and how to run."""

    root: Path = Path("data/build")
    runner: Literal["local", "ray"] = "local"
    workers: int | None = Field(None, ge=1)
    address: str | None = None
    retries: int = Field(3, ge=0)
    memory_mb: int = Field(1024, ge=64)
    object_store_mb: int = Field(100, ge=80)
    wait_for_lock_s: float = Field(0, ge=0)

    @field_validator("root")
    @classmethod
    def _root_is_a_folder(cls, root: Path) -> Path:
        if ":/" in str(root):
            raise ValueError(
                "the root must be a folder that every worker sees under this path (a local or shared disk)"
            )
        return root

    @model_validator(mode="after")
    def _a_cluster_needs_a_whole_path(self) -> "Profile":
        if self.address is not None and not self.root.is_absolute():
            raise ValueError(
                f"root: {self.root} is relative; on a running cluster (address: {self.address}) name the whole path of "
                "a folder that all its machines see"
            )
        return self


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice; the plain loader silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path | str, model: type[M]) -> M:
    """Read the YAML file `path` as `model`.

    Raises:
        ConfigError: one line per wrong field, with its place in the file and the nearest right key.
    """
    path = Path(path)
    try:
        plain = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path} (looked in {Path.cwd()}){_near_file(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(plain, dict):
        held = "is empty" if plain is None else f"holds {type(plain).__name__}, not a mapping of keys"
        raise ConfigError(f"{path} {held}; `corpusmill init DIR` writes one")
    return validate(plain, model, str(path))


def validate(plain: dict[str, Any], model: type[M], where: str) -> M:
    """Return `plain` as `model`.

    Raises:
        ConfigError: as `load`.
    """
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        lines = dict.fromkeys(_line(problem, model) for problem in error.errors())
        raise ConfigError("\n".join([f"{where}: {len(lines)} problem(s)", *lines])) from None


SHAPES = {"tuple_type": "a list, such as [a, b]"} | dict.fromkeys(("dict_type", "model_type"), "a mapping of keys")
"""What a person calls the shapes of YAML that pydantic calls otherwise."""


def _line(problem: Any, model: type[BaseModel]) -> str:
    loc = [part for part in map(str, problem["loc"]) if not re.match(r"(literal|dict)\[", part)]  # of a union: no key
    place = ".".join(loc)
    if problem["type"] == "extra_forbidden":
        known = list(_fields_at(model, loc[:-1]))
        return f"  {place}: no such key{suggestion(loc[-1], known)}"
    if problem["type"] == "missing":
        return f"  {place}: missing"
    value = "" if isinstance(problem["input"], dict) else f" (found {problem['input']!r})"
    shape = SHAPES.get(problem["type"])
    said = f"Input should be {shape}" if shape else problem["msg"].removeprefix("Value error, ")
    return f"  {place + ': ' if place else ''}{said}{value}"


def suggestion(wrong: str, known: list[str]) -> str:
    """Return `; did you mean 'x'? (there are a, b, c)` for a name that is not known."""
    near = difflib.get_close_matches(wrong, known, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (there are {', '.join(sorted(known))})" if known else hint


def _fields_at(model: type[BaseModel], loc: list[str]) -> Iterator[str]:
    """Yield the keys allowed at a place of a model, however its type is wrapped in Optional or dict."""
    kinds: list[Any] = [model]
    for part in loc:
        inner = [_unwrapped(kind.model_fields[part].annotation) for kind in kinds if part in kind.model_fields]
        kinds = [m for group in inner for m in group] or kinds
    for kind in kinds:
        yield from kind.model_fields


def _unwrapped(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _unwrapped(argument)]


def _near_file(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], 1, 0.5)
    return f"; did you mean {path.with_name(near[0])}?" if near else ""
