"""E-mail addresses, public IP addresses and telephone numbers: MB of text a CPU-second, beside regular expressions.

    python benchmarks/identifiers.py [--mb 20] [--repeats 5] [--json]

The first `--mb` of each domain of `data/small` and of `data/bench`, from memory, one thread. The peer is Python's `re`
with the expressions of datatrove's PIIFormatter for e-mail and IP addresses, over the same texts as strings.
"""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dedup_sign import first_of, size_of
from harness import MB, arguments, finish, interleaved, median, ratio, shared, table

from pipeline.kernels import identifiers
from pipeline.schemas import text_buffers

ATOM, LABEL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+", r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
PEERS = (
    re.compile(rf"\b{ATOM}(?:\.{ATOM})*@(?:{LABEL}\.)+{LABEL}"),
    re.compile(rf"(?:{OCTET}\.){{3}}{OCTET}"),
)


def ours(texts: pa.Array, kinds: tuple[str, ...]) -> np.ndarray:
    """Return how many of each kind are found."""
    found = identifiers.find(*text_buffers(texts), np.ones(len(texts), bool), kinds)
    return np.bincount(found[1], minlength=len(identifiers.KINDS))


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--mb", type=float, default=20.0, help="MB of text of a domain (%(default)s)")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for folder in ("small", "bench"):
        paths = sorted((shared() / "data" / folder).glob("*.parquet"))
        rows = pa.concat_tables([pq.read_table(path, columns=["text", "source"]) for path in paths])
        for domain in sorted(set(rows["source"].to_pylist())):
            chosen = rows.filter(pa.array([name == domain for name in rows["source"].to_pylist()]))
            texts = first_of(chosen["text"].cast(pa.large_string()).combine_chunks(), options.mb * MB)
            strings, size = texts.to_pylist(), size_of(texts) / MB
            variants = {
                "all": lambda texts=texts: ours(texts, identifiers.KINDS),
                "two": lambda texts=texts: ours(texts, identifiers.KINDS[:2]),
                "re": lambda strings=strings: [pattern.findall(text) for text in strings for pattern in PEERS],
            }
            found = variants["all"]()
            samples = interleaved(variants, options.repeats)
            counts = dict(zip(identifiers.KINDS, found.tolist(), strict=True))
            rates = {"mb_per_s": size / median(samples["all"]), "re_mb_per_s": size / median(samples["re"])}
            result[f"{folder}/{domain}"] = {**counts, **rates, "ratio": ratio(samples["re"], samples["two"])}
    head = ("texts", *identifiers.KINDS, "MB/s", "re, two kinds", "ratio for two kinds")
    table("identifiers, one core", head, [[name, *figures.values()] for name, figures in result.items()])
    finish(options, result)


if __name__ == "__main__":
    main()
