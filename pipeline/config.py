"""YAML files become frozen models: a Profile says where and how to build, a Recipe (`pipeline.recipe`) says what.

No value of a profile changes an output byte.
"""

import difflib
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from pipeline.corpus import Frozen
from pipeline.errors import ConfigError

M = TypeVar("M", bound=Frozen)


class Profile(Frozen):
    """Where and how to run."""

    root: Path = Path("data/build")
    runner: Literal["local", "ray"] = "local"
    workers: int | None = Field(None, ge=1)
    address: str | None = None
    retries: int = Field(3, ge=0)
    memory_mb: int = Field(1024, ge=64)
    object_store_mb: int = Field(100, ge=80)
    gpus_per_model: float = Field(0, ge=0)
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
    def _gpus_are_the_clusters(self) -> "Profile":
        if self.gpus_per_model and self.runner != "ray":
            raise ValueError("gpus_per_model: only Ray gives GPUs to workers; say `runner: ray`, or leave it out")
        return self

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
        lines = problems(error, lambda loc: f"no such key{suggestion(loc[-1], list(_fields_at(model, loc[:-1])))}")
        head = f"{where}: {len(lines)} problem{'s' * (len(lines) != 1)}"
        raise ConfigError("\n".join([head, *(f"  {line}" for line in lines)])) from None


SHAPES = {"tuple_type": "a list, such as [a, b]"} | dict.fromkeys(("dict_type", "model_type"), "a mapping of keys")
"""What a person calls the shapes of YAML that pydantic calls otherwise."""


def problems(error: ValidationError, unknown: Callable[[list[str]], str], above: Sequence[str] = ()) -> list[str]:
    """Return a line for every wrong field: its place, what is wrong, what was found.

    What pydantic says of each alternative of a union is one problem; of a mapping, only what is wrong inside it.

    Args:
        error: what was wrong.
        unknown: says what is wrong with a key that is not known, by its place.
        above: the keys that lead to what was wrong.
    """
    found = [(_loc(problem), problem) for problem in error.errors()]
    told: dict[tuple[str, str], dict[str, None]] = {}
    for loc, problem in found:
        inside = any(len(other) > len(loc) and other[: len(loc)] == loc for other, _ in found)
        if problem["type"] == "literal_error" and inside:
            continue
        key = problem["type"] == "extra_forbidden"
        said = unknown(loc) if key else _said(problem)
        bare = key or problem["type"] == "missing" or isinstance(problem["input"], dict)
        value = "" if bare else f" (found {problem['input']!r})"
        told.setdefault((".".join([*above, *loc]), value), {})[said] = None
    return [f"{place + ': ' if place else ''}{_either(list(said))}{value}" for (place, value), said in told.items()]


def _loc(problem: Any) -> list[str]:
    """Return the keys that lead to a problem; which alternative of a union it is of is no key."""
    return [part for part in map(str, problem["loc"]) if not re.match(r"(literal|dict)\[", part)]


SHOULD_BE = "Input should be "


def _said(problem: Any) -> str:
    if problem["type"] == "missing":
        return "missing"
    shape = SHAPES.get(problem["type"])
    return f"{SHOULD_BE}{shape}" if shape else problem["msg"].removeprefix("Value error, ")


def _either(said: list[str]) -> str:
    first, *others = said
    return first + "".join(f", or {other.removeprefix(SHOULD_BE)}" for other in others)


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
