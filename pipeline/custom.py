"""A user's own stage: a Python function on record batches, called `module:name`, with a version of its own.

The function gets a batch with every column of its inputs (for `documents`: doc_id, text, domain, bytes, source_id and
extra columns; for `mask`: keep, reason) and the step's params as keyword arguments, and returns a batch of as many
rows. If the result has a boolean column `keep`, the step is a mask: what was dropped before stays dropped, the ledger
counts the rest under the column `reason`, or under the function's name.
"""

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ConfigDict, model_validator

from pipeline import schemas
from pipeline.errors import ConfigError, DataError
from pipeline.stage import Params, Stage, Step


class CustomParams(Params):
    """Whatever the recipe's step passes to the function."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="after")
    def _are_json(self) -> "CustomParams":
        try:
            json.dumps(self.model_dump(), allow_nan=False, default=str)
        except ValueError:
            raise ValueError("a number is infinite or not a number; fingerprints have no words for that") from None
        return self


def stage(target: str, version: int | None, where: str) -> Stage:
    """Return the stage that runs `target`, which is a Stage or a batch function.

    Raises:
        ConfigError: it cannot be imported, or a function comes without a version.
    """
    found = _imported(target, where)
    if isinstance(found, Stage):
        return found
    if version is None:
        raise ConfigError(f"{where}: {target} needs a `version: 1` beside it; raise it whenever the function changes")
    run, check = partial(_run, target=target), partial(_check, target=target, function=found)
    return Stage(target, version, CustomParams, ("documents",), run, optional=("mask",), check=check)


def _check(params: CustomParams, files: Mapping[str, Path], *, target: str, function: Callable[..., Any]) -> None:
    """See that the function takes the params, before anything runs."""
    try:
        inspect.signature(function).bind(None, **params.model_dump())
    except TypeError as error:
        raise ConfigError(f"params do not fit {target}: {error}") from None
    except ValueError:  # a builtin without a signature
        return


def _imported(target: str, where: str) -> Any:
    module, _, name = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # the module is the user's: whatever it raises is his to mend
        kind = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
        raise ConfigError(f"{where}: cannot import {target}: {kind}{error} (looked from {Path.cwd()})") from None
    if not callable(found) and not isinstance(found, Stage):
        raise ConfigError(f"{where}: {target} is {type(found).__name__}, not a function or a Stage")
    return found


def _run(step: Step, params: CustomParams, *, target: str) -> None:
    columns = {role: _columns(step, role) for role in step.inputs}
    columns.setdefault("mask", schemas.MASK)
    fn = partial(apply, target=target, values=params.model_dump(mode="json"))
    empty = pa.RecordBatch.from_pylist([], schema=_input_schema(step, columns))
    schema = fn(empty).schema
    if untyped := [field.name for field in schema if pa.types.is_null(field.type)]:
        raise DataError(
            f"{target} is called without rows first, to learn the types of its columns, and {untyped[0]!r} then has "
            "none: give its array a type, such as pa.array(values, pa.float32())"
        )
    step.map_shards(fn, columns=columns, schema=schema)


def apply(batch: pa.RecordBatch, *, target: str, values: dict[str, Any]) -> pa.RecordBatch:
    """Return what the user's function makes of a batch, as a mask if it decides.

    Raises:
        DataError: it returned something else than a record batch of as many rows.
    """
    function: Callable[..., Any] = _imported(target, "steps")
    result = function(batch, **values)
    if not isinstance(result, pa.RecordBatch) or result.num_rows != batch.num_rows:
        got = f"{result.num_rows} rows" if isinstance(result, pa.RecordBatch) else type(result).__name__
        raise DataError(f"{target} was given {batch.num_rows} rows and returned {got}; return one row for each")
    return _as_mask(batch, result, target) if "keep" in result.schema.names else result


def _as_mask(batch: pa.RecordBatch, result: pa.RecordBatch, target: str) -> pa.RecordBatch:
    name = target.partition(":")[2]
    drop = pc.invert(pc.fill_null(result["keep"].cast(pa.bool_()), False))
    columns = schemas.decide(batch, drop, name)
    if "reason" in result.schema.names:
        now = pc.and_(batch["keep"], drop)
        columns["reason"] = pc.if_else(now, pc.fill_null(result["reason"].cast(pa.string()), name), batch["reason"])
    more = [field for field in result.schema if field.name not in schemas.MASK]
    arrays = [*columns.values(), *(result[field.name] for field in more)]
    return pa.RecordBatch.from_arrays(arrays, schema=schemas.mask(*more))


def _columns(step: Step, role: str) -> tuple[str, ...]:
    taken = {name for other in step.inputs if other < role for name in _schema(step, other).names}
    return tuple(name for name in _schema(step, role).names if name not in taken)


def _schema(step: Step, role: str) -> pa.Schema:
    for path in step.inputs[role].paths():
        return pq.read_schema(path)
    raise DataError(f"{step.name}: the input {role} has no shards")


def _input_schema(step: Step, columns: dict[str, tuple[str, ...]]) -> pa.Schema:
    fields = [
        _schema(step, role).field(name) for role, names in columns.items() if role in step.inputs for name in names
    ]
    return pa.schema([*fields, *(() if "mask" in step.inputs else schemas.MASK_FIELDS)])
