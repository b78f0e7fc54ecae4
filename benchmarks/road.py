"""The whole road of the demo recipe: CPU seconds and MB of input text per core-second, step by step, and peak memory.

    python benchmarks/road.py [--sample data/sample] [--json]

One worker, so that the CPU of every step is this process' own; a first build compiles the kernels (it is not counted),
the counted ones start from an empty root. Memory is the highest resident size of the process over the whole build.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from harness import MB, Clock, arguments, finish, in_child, peak_mb, table

import pipeline
from pipeline.config import Profile
from pipeline.recipe import Recipe

RECIPE = Path(__file__).parents[1] / "configs/builds/demo.yaml"


def recipe(sample: Path) -> Recipe:
    """Return the demo recipe on a sample that lies anywhere."""
    text = RECIPE.read_text(encoding="utf-8").replace("data/sample", str(sample))
    return Recipe.model_validate(yaml.safe_load(text))


def one_build(sample: Path, root: Path) -> dict[str, Any]:
    """Build from an empty root; return CPU seconds by step, bytes of text and peak memory."""
    shutil.rmtree(root, ignore_errors=True)
    clock, started = Clock(), time.process_time()
    built = pipeline.build(recipe(sample), Profile(root=root, workers=1), watcher=clock)
    cpu_s = time.process_time() - started
    text = sum(books["bytes_in"] for books in built["documents"].manifest.ledger.values())
    return {"cpu_s": cpu_s, "steps": clock.cpu_s, "text_bytes": text, "peak_mb": peak_mb()}


def main() -> None:
    """Measure in fresh processes and print medians."""
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--sample", type=Path, default=Path("data/sample"), help="made by `corpusmill sample`")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        options.json = True
        finish(options, one_build(options.sample.absolute(), options.child))
        return
    pipeline.sample(options.sample)
    with tempfile.TemporaryDirectory() as root:
        arguments_ = ("--sample", str(options.sample), "--child", f"{root}/build")
        runs = [in_child(__file__, *arguments_) for _ in range(options.repeats + 1)][1:]
    mb = runs[0]["text_bytes"] / MB
    cpu_s = statistics.median(run["cpu_s"] for run in runs)
    steps = {name: statistics.median(run["steps"][name] for run in runs) for name in runs[0]["steps"]}
    rows = [[name, seconds, mb / max(seconds, 1e-3)] for name, seconds in steps.items()]
    rows.append(["whole build", cpu_s, mb / cpu_s])
    table(f"demo recipe on {mb:.1f} MB of text, one worker", ["", "cpu s", "MB/s a core"], rows)
    peak = max(run["peak_mb"] for run in runs)
    print(f"  peak memory {peak:.0f} MB")
    finish(options, {"text_mb": mb, "cpu_s": cpu_s, "mb_per_s": mb / cpu_s, "peak_mb": peak, "steps": steps})


if __name__ == "__main__":
    main()
