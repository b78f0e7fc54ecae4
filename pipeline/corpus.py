"""The nouns on disk: a Shard is a file, a Manifest describes a finished set of them, a Corpus is both."""

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


class _Texts(Sequence[str]):
    """Strings end to end: 32 letters weigh 40 bytes, as one of Python's strings 89."""

    __slots__ = ("_data", "_ends")

    def __init__(self, texts: Iterable[str] = ()):
        self._data, self._ends = bytearray(), array("I")
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        self._data += text.encode()
        self._ends.append(len(self._data))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        places = range(len(self._ends))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        return self._data[self._ends[places - 1] if places else 0 : self._ends[places]].decode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Texts) and (self._data, self._ends) == (other._data, other._ends)

    def __hash__(self) -> int:
        return hash(bytes(self._data))


class Shards(Sequence[Shard]):
    """Shards kept column-wise: a hundred thousand of them weigh some 12 MB instead of some 100."""

    __slots__ = ("_bytes", "_checksums", "_names", "_origins", "_rows")

    def __init__(self, shards: Iterable[Shard] = ()):
        self._names, self._checksums, self._origins = _Texts(), _Texts(), _Texts()
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
        return hash(self._checksums)

    def __repr__(self) -> str:
        return f"Shards({len(self):,} shards, {self.rows:,} rows, {self.bytes:,} bytes)"

    @property
    def rows(self) -> int:
        return sum(self._rows)

    @property
    def bytes(self) -> int:
        return sum(self._bytes)

    def columns(self) -> dict[str, Sequence[Any]]:
        """Return the columns in the order in which a manifest holds them."""
        return {
            "name": self._names,
            "rows": self._rows,
            "bytes": self._bytes,
            "checksum": self._checksums,
            "origin": self._origins,
        }

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]]) -> "Shards":
        """Return the shards of a manifest's columns.

        Raises:
            ValueError: a column is missing, of other values or of another length than the others.
        """
        shards = cls()
        try:
            shards._names, shards._rows, shards._bytes = (
                _Texts(columns["name"]),
                array("q", columns["rows"]),
                array("q", columns["bytes"]),
            )
            shards._checksums, shards._origins = _Texts(columns["checksum"]), _Texts(columns["origin"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its columns of shards are broken ({error})") from None
        if len({len(column) for column in shards.columns().values()}) != 1:
            raise ValueError("its columns of shards are not of one length")
        return shards

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Shards) else cls.from_columns(value),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda shards: {name: list(column) for name, column in shards.columns().items()}
            ),
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
        """Return the text of `manifest.json`: columns of shards in lines of some thousand values, the rest indented."""
        return "".join(self.pieces())

    def pieces(self) -> Iterator[str]:
        """Yield the text of `manifest.json` piece by piece; whole, that of 100,000 shards weighs 50 MB in copies."""
        head = self.model_dump(mode="json", exclude={"shards", "files"})
        yield json.dumps(head, indent=1, ensure_ascii=False)[:-2]
        for name, shards in (("files", self.files), ("shards", self.shards)):
            yield f',\n "{name}": {{\n'
            for place, (column, values) in enumerate(shards.columns().items()):
                yield f'{"," + chr(10) if place else ""}  "{column}": ['
                yield from _values(values)
                yield "]"
            yield "\n }"
        yield "\n}\n"

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> "Manifest":
        """Return the manifest of `manifest.json`, read a line at a time: whole, a column weighs three times itself.

        Raises:
            ValueError: it is not one (pydantic's ValidationError is a ValueError).
        """
        head: list[str] = []
        found: dict[str, dict[str, Any]] = {}
        columns: dict[str, Any] | None = None
        column: Any = None
        for line in lines:
            if line in (' "files": {\n', ' "shards": {\n'):
                columns = found.setdefault(line.split('"')[1], {})
            elif columns is None:
                head.append(line)
            elif line.startswith(" }"):
                columns = None
            else:
                if line.startswith('  "'):
                    name, line = line.split(": [", 1)
                    name = name.strip(' "')
                    column = columns[name] = array("q") if name in ("rows", "bytes") else _Texts()
                for value in json.loads(f"[{line.rstrip(chr(10)).rstrip('],')}]"):
                    column.append(value)
        plain = json.loads("".join(head).rstrip().removesuffix("}").rstrip().removesuffix(",") + "}")
        return cls.model_validate(plain | found)


def _values(column: Sequence[Any], at_once: int = 4096) -> Iterator[str]:
    """Yield the JSON of a column's values without its brackets, `at_once` in a line."""
    for begin in range(0, len(column), at_once):
        text = json.dumps(list(column[begin : begin + at_once]), separators=(",", ":"))[1:-1]
        yield f",\n{text}" if begin else text


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
