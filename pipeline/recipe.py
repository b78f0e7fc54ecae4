"""A recipe says what to build: its sections, their keys and what may stand in them.

Every value here is part of some fingerprint. How the sections become steps is told in `pipeline.road`.
"""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config import suggestion
from pipeline.corpus import Frozen
from pipeline.dedup import sensitivity
from pipeline.dedup.sensitivity import Bands, Preset
from pipeline.recipe_mixture import Mixture
from pipeline.recipe_quality import Decontaminate, Filters, Quality
from pipeline.tokens.pack_params import PackingParams


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


NEAR_KEYS = ("threshold", "ngram", "unit", "hashing", "preset", "recall", "bands", "rows", "containment")
"""Keys of `dedup` that speak of near duplicates only."""


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
    def _no_key_is_without_effect(self) -> "Dedup":
        fields = type(self).model_fields
        idle = [key for key in NEAR_KEYS if getattr(self, key) != fields[key].default]
        if idle and not self.near:
            raise ValueError(f"`near: false` leaves {', '.join(idle)} without effect; remove them, or `near: false`")
        if not self.earlier and not self.earlier_wins:
            raise ValueError("`earlier_wins` speaks of `earlier` builds; name them, or leave it out")
        for key in ("priority", "earlier"):
            names = getattr(self, key)
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{key}: {', '.join(twice)} stands there twice; name each once")
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


FLAT_IDS = 1 << 16
Export = Literal["megatron", "mds", "litdata", "huggingface", "flat", "olmo", "datatrove"]


FOR_TRAINING = {"vocab_size", "train_mb", "kind", "split", "digits", "parallel", "train_weights"}
"""Keys of `tokens` that say how a vocabulary is trained."""


class Tokens(Frozen):
    """The vocabulary, the length of a training sequence and further formats.

    `kind`, `split`, `digits` and `parallel` say how a vocabulary is trained, `train_weights` are the domains' shares of
    what it is trained on; "mixture" takes those of the section `mixture`.
    """

    tokenizer: str | None = Field(None, min_length=1)
    vocab_size: int = Field(16384, ge=300)
    train_mb: int = Field(10, ge=1)
    kind: Literal["bpe", "superbpe", "parity"] = "bpe"
    split: Literal["llama3", "qwen2", "gpt2", "o200k"] = "llama3"
    digits: Literal["threes", "single", "whole"] | None = None
    parallel: str | None = Field(None, min_length=1)
    train_weights: Literal["natural", "uniform", "mixture"] | dict[str, float] = "natural"
    segmentation: Literal["bpe", "minimum"] = "bpe"
    eos: str | None = Field(None, min_length=1)
    sequence_length: int = Field(2048, ge=8)
    packing: PackingParams = PackingParams()
    export: tuple[Export, ...] = ()

    @model_validator(mode="after")
    def _is_brought_along_or_trained(self) -> "Tokens":
        trained = sorted(self.model_fields_set & FOR_TRAINING)
        if self.tokenizer is not None and trained:
            raise ValueError(f"a tokenizer is brought along, so `{trained[0]}` says nothing: leave out one of the two")
        return self

    @model_validator(mode="after")
    def _a_flat_file_has_16_bits_a_token(self) -> "Tokens":
        if "flat" in self.export and self.tokenizer is None and self.vocab_size > FLAT_IDS:
            raise ValueError(
                f"vocab_size is {self.vocab_size:,}, and the export `flat` has 16 bits a token: ask for at most "
                f"{FLAT_IDS:,} tokens, or for another export"
            )
        return self


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
    filters: Filters | None = None
    dedup: Dedup | None = None
    decontaminate: Decontaminate | None = None
    quality: Quality | None = None
    mixture: Mixture | None = None
    tokens: Tokens | None = None
    steps: dict[str, StepConfig] = {}

    @field_validator("ingest", "filters", "dedup", "mixture", "tokens", "steps", mode="before")
    @classmethod
    def _named_alone_means_defaults(cls, value: Any) -> Any:
        """`dedup:` with nothing behind it asks for the section with its defaults; leaving it out leaves it out."""
        return {} if value is None else value

    @model_validator(mode="after")
    def _documents_are_parted_once(self) -> "Recipe":
        if self.mixture and self.mixture.clusters is not None and self.quality and self.quality.buckets is not None:
            raise ValueError(
                "mixture.clusters and quality.buckets both part the domains; a mixture knows one of them: leave one out"
            )
        return self

    @model_validator(mode="after")
    def _names_are_domains(self) -> "Recipe":
        for place, names in self._named_domains().items():
            for name in names:
                if name not in self.sources:
                    raise ValueError(f"{place}: no source is called {name!r}{suggestion(name, list(self.sources))}")
        carried = [name for source in self.sources.values() for name in source.extra]
        for place, column in self._named_columns().items():
            if column not in carried:
                raise ValueError(f"{place}: no source carries a column {column!r}; name it in a source's `extra`")
        scores = ["bytes", *(self.quality.scored() if self.quality else ())]
        for column in self.quality.columns if self.quality else ():
            if column not in (*scores, *carried):
                hint = suggestion(column, [*scores, *carried])
                raise ValueError(f"quality: no step and no source's `extra` has a column {column!r}{hint}")
        return self

    def _named_domains(self) -> dict[str, tuple[str, ...]]:
        """Return every place of the recipe that names domains, with the names."""
        named: dict[str, tuple[str, ...]] = {}
        if self.dedup:
            named["dedup.priority"] = self.dedup.priority
        if self.quality:
            quality = self.quality
            named |= {"quality.exempt": quality.exempt, "quality.label_only": quality.label_only}
            named["quality.quotas"] = tuple(quality.quotas)
            named |= {f"quality.{side}": labels.domains for side, labels in quality.labels().items()}
        if self.mixture and self.mixture.clusters is None:
            buckets = self.quality is not None and self.quality.buckets is not None
            for place, names in self.mixture.named_domains().items():
                named[place] = tuple(name.rpartition("/")[0] if buckets else name for name in names)
        if self.tokens and isinstance(self.tokens.train_weights, dict):
            named["tokens.train_weights"] = tuple(self.tokens.train_weights)
        return named

    def _named_columns(self) -> dict[str, str]:
        """Return every place of the recipe that names a column of the documents, with the column."""
        sides = self.quality.labels() if self.quality else {}
        named = {f"quality.{side}.column": labels.column for side, labels in sides.items() if labels.column}
        if self.filters and self.filters.language and self.filters.language.column:
            named["filters.language.column"] = self.filters.language.column
        if self.dedup and self.dedup.column:
            named["dedup.column"] = self.dedup.column
        return named
