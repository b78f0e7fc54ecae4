"""What `corpusmill init` writes: a recipe for the whole road and a profile, with comments."""

from pathlib import Path

from pipeline import store
from pipeline.errors import ConfigError

RECIPE = """\
# What to build. Everything in here decides about output bytes; where and how it runs is the profile's.
name: starter
seed: 0

sources:                      # domain: file, folder, glob or URL (Parquet, JSONL, .gz, .zst)
  web: data/web
  books: data/books/*.parquet
  # code: {paths: [s3://bucket/code], text: content, id: blob_id, extra: [lang]}

ingest:
  quarantine_limit: 0.001     # share of rows that may be unreadable, null, blank or not UTF-8

dedup:                        # exact copies, then MinHash candidates verified by their true Jaccard
  threshold: 0.8              # a document goes only if a kept one is at least this similar
  recall: 0.99                # chance that a pair at just that similarity is found; `corpusmill plan` tells the bands
  # preset: fineweb           # instead of recall: 14 bands of 8; nemo: 20 of 13; or bands: 20 and rows: 6
  # containment: 0.9          # one goes too if a kept one holds so much of it
  keep: longest               # or source_priority, with priority: [books, web]; or, with column: NAME (an extra
                              # one of a source), best_score, oldest or newest
  source_cap: 0.9             # stop if a domain loses more of its documents than that

quality:                      # a fastText classifier, trained here ...
  positive: [books]           # domains, or {column: label, values: [good]}
  negative: [web]
  # model: models/quality.bin # ... or brought along (then no positive and negative)
  share: 0.7                  # keep the best 70 %; or threshold: 0.5
  by: bytes                   # bytes, tokens or documents
  scope: overall              # or domain: the same share of each
  exempt: [books]             # never scored away

mixture:
  weights: {web: 0.7, books: 0.3}   # or natural, uniform; with temperature: 0.5
  budget_tokens: 10_000_000   # leave it out to take every document once
  max_epochs: 4               # no domain is repeated more often
  # regress: {mixtures: 64, model: tiny}  # instead of weights: found by small models trained on mixtures

tokens:
  vocab_size: 16384           # trains a byte-level BPE; or tokenizer: path/to/tokenizer.json
  sequence_length: 2048
  export: [megatron]
"""

PROFILE = """\
# Where and how to run. Nothing in here changes an output byte.
root: data/build
runner: local                 # or ray
# workers: 2                  # processes; left out, one for each CPU
# address: auto               # ray: join a running cluster; left out, a small one of our own
retries: 3                    # of what passes: lost workers, memory, I/O; never of a bug
# wait_for_lock_s: 600        # wait for another build on this root instead of refusing
"""


def init(directory: Path) -> list[Path]:
    """Write `recipe.yaml` and `profile.yaml` into `directory` and return their paths.

    Raises:
        ConfigError: one of them exists, and nothing is overwritten; or the folder cannot be made.
    """
    files = {directory / "recipe.yaml": RECIPE, directory / "profile.yaml": PROFILE}
    if there := [str(path) for path in files if path.exists()]:
        raise ConfigError(f"{', '.join(there)} exists already; name another folder")
    try:
        for path, text in files.items():
            store.write_atomic(path, text)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be written: {error}; name another folder") from None
    return list(files)
