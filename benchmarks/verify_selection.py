"""Does a trained classifier's selection help? Two selections of one real corpus, verified on held-out texts.

    python benchmarks/verify_selection.py [--setting tiny] [--budget-tokens 1000000] [--workers 2] [--json]

A fifth of the encyclopaedic documents is held out as the targets. The others teach a fastText classifier, against all
other domains, what is like them. It then keeps a sixth of the other domains' text: once with its positive documents
among what is chosen from (so it may keep those), once without (so it must find others). Each selection is compared with
random subsets of its own pool. Printed are the verdicts, and the CPU and clock time of each verification.

Needs the extra `lm`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import finish, measured, shared, table

import pipeline
from pipeline.config import Profile
from pipeline.kernels.hashing import draw, murmur128
from pipeline.recipe import Recipe
from pipeline.schemas import text_buffers

LIKED = "reference"
OTHERS = ("web", "books", "code", "docs", "forum", "multilingual")
HELD_OUT = 0.2
SHARE = 1 / 6


def split(folder: Path) -> tuple[Path, Path]:
    """Write the liked documents as two files: those to learn from, and those held out."""
    paths = sorted((shared() / "data/small").glob(f"{LIKED}-*.parquet"))
    rows = pa.concat_tables(pq.read_table(path, columns=["id", "text"]) for path in paths).combine_chunks()
    ids_N2 = murmur128(*text_buffers(rows["text"].chunk(0).cast(pa.large_string())))
    held_out = draw(0, ids_N2, 1) < np.uint64(HELD_OUT * 2**64)
    found = folder / "learn.parquet", folder / "held_out.parquet"
    for path, chosen in zip(found, (~held_out, held_out), strict=True):
        pq.write_table(rows.filter(pa.array(chosen)), path)
    return found


def recipe(name: str, learn: Path, **quality: Any) -> Recipe:
    """Return a recipe that selects what is like the documents to learn from."""
    small = shared() / "data/small"
    sources = {domain: {"paths": [str(small / f"{domain}-*.parquet")], "id": "id"} for domain in OTHERS}
    chosen = {"positive": [LIKED], "negative": list(OTHERS), "share": SHARE}
    return Recipe.model_validate(
        {
            "name": name,
            "seed": 1,
            "sources": sources | {LIKED: {"paths": [str(learn)], "id": "id"}},
            "dedup": {},
            "quality": chosen | quality,
        }
    )


def main() -> None:
    """Build, verify, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--setting", default="tiny")
    parser.add_argument("--budget-tokens", type=int)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        learn, held_out = split(folder)
        where = Profile(root=folder / "root", workers=given.workers)
        for kind, quality in {"with the positives": {}, "without them": {"label_only": [LIKED]}}.items():
            what = recipe(kind.replace(" ", "-"), learn, **quality)
            built = pipeline.build(what, where)
            asked = {"setting": given.setting, "budget_tokens": given.budget_tokens}
            found: list[Any] = []
            took = measured(
                lambda what=what, asked=asked, found=found: found.append(
                    pipeline.verify_selection(what, [f"{LIKED}={held_out}"], where, **asked)
                )
            )
            facts = found[0].to_json()
            auc = built["model"].manifest.facts["held_out_auc"]
            figures[kind] = {"auc": auc, "cpu_s": took.cpu_s, "wall_s": took.wall_s} | facts
            rows.append([kind, f"{auc:.4f}", *_told(facts), f"{took.cpu_s:,.0f} s", f"{took.wall_s:,.0f} s"])
    head = ("selection", "AUC", "epochs", "selected", "random", "gain", "interval", "verdict", "CPU", "clock")
    table(facts["notes"][1], head, rows)
    finish(given, figures)


def _told(facts: dict[str, Any]) -> list[str]:
    found = facts["overall"]
    sides = [f"{found[f'{kind}_mean']:.4f} ± {found[f'{kind}_deviation']:.4f}" for kind in ("selected", "random")]
    interval = f"{found['low']:+.4f} to {found['high']:+.4f}"
    return [f"{facts['runs'][0]['epochs']:.2f}", *sides, f"{found['gain']:+.4f}", interval, found["verdict"]]


if __name__ == "__main__":
    main()
