"""A tiny raw corpus made from a seed: two domains, exact and near copies, several files; and the recipe for it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

SYLLABLES = ["ka", "lo", "mi", "ren", "tas", "vo", "chi", "dun", "pel", "gar", "sho", "wex"]

Row = tuple[str, str]


def vocabulary(rng: np.random.Generator, size: int) -> list[str]:
    return sorted({"".join(rng.choice(SYLLABLES, rng.integers(1, 4))) for _ in range(size)})


def texts(rng: np.random.Generator, words: list[str], count: int) -> list[str]:
    return [" ".join(rng.choice(words, rng.integers(30, 300))) + "." for _ in range(count)]


def raw_rows(count: int = 120, seed: int = 0) -> dict[str, list[Row]]:
    """Return domain -> (id, text) rows: every tenth an exact copy, every tenth a near copy of an earlier one."""
    rng = np.random.default_rng(seed)
    words = vocabulary(rng, 600)
    domains = {}
    for domain, part in {"prose": words[: len(words) * 2 // 3], "notes": words[len(words) // 3 :]}.items():
        unique = texts(rng, part, count)
        exact = [unique[i] for i in range(0, count, 10)]
        near = [unique[i] + " " + " ".join(rng.choice(part, 3)) for i in range(5, count, 10)]
        everything = [*unique, *exact, *near]
        domains[domain] = [(f"{domain}-{i}", text) for i, text in enumerate(everything)]
    return domains


def write_raw(root: Path, domains: dict[str, list[Row]], files: int = 3) -> None:
    """Write each domain as `files` Parquet files of consecutive rows."""
    for domain, rows in domains.items():
        (root / domain).mkdir(parents=True, exist_ok=True)
        for number in range(files):
            part = rows[len(rows) * number // files : len(rows) * (number + 1) // files]
            write_file(root / domain / f"{number}.parquet", part)


def write_file(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": [i for i, _ in rows], "text": [t for _, t in rows]}), path)


def road(raw: Path, name: str = "road", **sections: object) -> dict:
    """Return the recipe of the whole road on `raw`; a section given as None is left out."""
    recipe: dict = {
        "name": name,
        "seed": 3,
        "sources": {d.name: {"paths": [str(d)], "id": "id"} for d in sorted(raw.iterdir()) if d.is_dir()},
        "dedup": {"threshold": 0.7},
        "quality": {
            "positive": ["prose"],
            "negative": ["notes"],
            "share": 0.8,
            "scope": "domain",
            "train": {"bucket": 4096},
        },
        "mixture": {"weights": {"prose": 0.6, "notes": 0.4}, "budget_tokens": 30_000},
        "tokens": {"vocab_size": 400, "sequence_length": 128, "export": ["megatron"]},
    }
    recipe |= sections
    return {key: value for key, value in recipe.items() if value is not None}


def write_yaml(path: Path, content: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def tree(root: Path) -> dict[str, bytes]:
    """Return relative path -> bytes of every file under `root`, to compare two builds byte for byte."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
