"""The nouns on disk: a Shard is a file, a Manifest describes a finished set of them, a Corpus is both."""

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

DATA = "data"
"""The folder of a corpus that holds its shards."""


class Frozen(BaseModel):
    """A model that cannot change and accepts no field it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a corpus. Shards of co-partitioned corpora share stem, rows and row order.

    `checksum` is the first 128 bits of the sha256 of the file's bytes; `origin` says what content the file was made
    from, so that a later build can take it over ("" when it cannot).
    """

    name: str
    rows: int
    bytes: int
    checksum: str
    origin: str = ""


class Shards(Sequence[Shard]):
    """Shards kept column-wise: a hundred thousand of them weigh some 20 MB instead of some 100."""

    __slots__ = ("_bytes", "_checksums", "_names", "_origins", "_rows")

    def __init__(self, shards: Iterable[Shard] = ()):
        self._names: list[str] = []
        self._checksums: list[str] = []
        self._origins: list[str] = []
        self._rows, self._bytes = array("q"), array("q")
        for shard in shards:
            self.append(shard)

    def append(self, shard: Shard) -> None:
        """Add one shard at the end; only the store does so, while a corpus is being made."""
        self._names.append(shard.name)
        self._rows.append(shard.rows)
        self._bytes.append(shard.bytes)
        self._checksums.append(shard.checksum)
        self._origins.append(shard.origin)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Shard: ...
    @overload
    def __getitem__(self, index: slice) -> "Shards": ...
    def __getitem__(self, index: int | slice) -> "Shard | Shards":
        if isinstance(index, slice):
            return Shards(self[i] for i in range(*index.indices(len(self))))
        return Shard(
            self._names[index], self._rows[index], self._bytes[index], self._checksums[index], self._origins[index]
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shards) and self.columns() == other.columns()

    def __hash__(self) -> int:
        return hash(tuple(self._checksums))

    def __repr__(self) -> str:
        return f"Shards({len(self):,} shards, {self.rows:,} rows, {self.bytes:,} bytes)"

    @property
    def rows(self) -> int:
        return sum(self._rows)

    @property
    def bytes(self) -> int:
        return sum(self._bytes)

    def columns(self) -> dict[str, list[Any]]:
        """Return the shards as JSON columns, the form in which a manifest holds them."""
        return {
            "name": list(self._names),
            "rows": self._rows.tolist(),
            "bytes": self._bytes.tolist(),
            "checksum": list(self._checksums),
            "origin": list(self._origins),
        }

    @classmethod
    def from_columns(cls, columns: dict[str, list[Any]]) -> "Shards":
        """Return the shards of a manifest's JSON columns."""
        shards = cls()
        shards._names, shards._checksums, shards._origins = columns["name"], columns["checksum"], columns["origin"]
        shards._rows, shards._bytes = array("q", columns["rows"]), array("q", columns["bytes"])
        return shards

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Shards) else cls.from_columns(value),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda shards: shards.columns()),
        )


class Manifest(Frozen):
    """The record written last, once, when every shard is in place. No manifest, no corpus.

    `shards` hold the corpus' rows; `files` are its other files (a model, a plan, the quarantine).
    `ledger` reconciles rows by domain (see `pipeline.ledger`); `facts` are a stage's own numbers, for people and
    for the report. Neither takes part in the fingerprint.
    """

    format: int = 1
    stage: str
    version: int
    fingerprint: str
    params: dict[str, Any]
    inputs: dict[str, str]
    ledger: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    shards: Shards
    files: Shards = Shards()

    @property
    def rows(self) -> int:
        return self.shards.rows

    @property
    def bytes(self) -> int:
        return self.shards.bytes

    def to_json(self) -> str:
        """Return the text of `manifest.json`: one line a column of shards, the rest indented."""
        head = self.model_dump(mode="json", exclude={"shards", "files"})
        lines = json.dumps(head, indent=1, ensure_ascii=False)[:-2]
        return f'{lines},\n "files": {_column_lines(self.files)},\n "shards": {_column_lines(self.shards)}\n}}\n'


def _column_lines(shards: Shards) -> str:
    columns = shards.columns().items()
    lines = (f"  {json.dumps(name)}: {json.dumps(values, separators=(',', ':'))}" for name, values in columns)
    return "{\n" + ",\n".join(lines) + "\n }"


class Corpus(Frozen):
    """A finished dataset: where it lies and what it is."""

    root: Path
    manifest: Manifest

    def path(self, shard: Shard) -> Path:
        """Return where the file of `shard` lies."""
        return self.root / DATA / shard.name

    def paths(self) -> Iterator[Path]:
        """Yield the file of every shard, in order."""
        return (self.path(shard) for shard in self.manifest.shards)
