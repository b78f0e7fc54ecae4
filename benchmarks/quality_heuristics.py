"""Rules of thumb: MB of text a CPU-second beside datatrove's filters, and how many documents the two decide otherwise.

    python benchmarks/quality_heuristics.py [--peers DIR] [--without-peers]

Gopher's repetition and quality rules, C4's (without terminal punctuation, as in FineWeb) and FineWeb's, all asked of
every document. Ours begins with Arrow buffers and ends with decisions; datatrove's begins with strings. It gets a
virtual environment of its own in DIR, one thread in a child process, in the same run as ours.

Decisions are compared on the corpus `small`, filter by filter, on every `--every`-th document: with datatrove's words
and sentences replaced by a Python twin of ours (what differs then is a rule), and as shipped, with spaCy's (what
differs is the words).
"""

import json
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from dedup_sign import ONE_THREAD, python_of
from harness import MB, arguments, finish, measured, shared, table

from pipeline.kernels.character_kinds import ALONE, PUNCT, TERMINAL, kinds
from pipeline.quality.judging import Rules, judge, reasons
from pipeline.schemas import text_buffers

TROVE = ("datatrove==0.10.1", "spacy==3.8.18", "tokenizers", "nltk", "regex", "xxhash<4")
FILTERS = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
RULES = Rules.model_validate({"c4": {"terminal_punctuation": False}})
PEER = """
import json, re, sys, time
from datatrove.data import Document
from datatrove.pipeline.filters import c4_filters, fineweb_quality_filter, gopher_quality_filter
from datatrove.pipeline.filters import gopher_repetition_filter
MODULES = (gopher_repetition_filter, gopher_quality_filter, c4_filters, fineweb_quality_filter)
texts, alone, punct, terminal, twin = json.load(open(sys.argv[1]))
alone, punct = set(alone), set(punct)
def peeled(piece):
    begin, end = 0, len(piece)
    while begin < end and piece[begin] in punct: begin += 1
    while end > begin and piece[end - 1] in punct: end -= 1
    return [*piece[:begin], *([piece[begin:end]] if end > begin else []), *piece[end:]]
def words(text, language=None):
    found = []
    for chunk in text.split():
        piece = ""
        for character in chunk:
            if character in alone:
                found += [*peeled(piece), character]
                piece = ""
            else: piece += character
        found += peeled(piece)
    return found
RUN = re.compile("[" + re.escape(terminal) + "][" + re.escape(terminal) + "\\"')\\\\]”’»]*")
def sentences(line, language=None):
    ends = 0
    for run in RUN.finditer(line):
        rest = line[run.end():]
        ends += bool(rest) and (rest[0].isspace() or any(ord(c) > 127 and c in terminal for c in run.group()))
    return [""] * (ends + 1)
if twin:
    for module in MODULES:
        module.split_into_words = words
    c4_filters.split_into_sentences = sentences
FILTERS = (
    gopher_repetition_filter.GopherRepetitionFilter(),
    gopher_quality_filter.GopherQualityFilter(),
    c4_filters.C4QualityFilter(filter_no_terminal_punct=False),
    fineweb_quality_filter.FineWebQualityFilter(),
)
def reason(filter_, document):
    try: found = filter_.filter(document)
    except ZeroDivisionError: return "nothing to divide by"
    return None if found is True else found[1] if isinstance(found, tuple) else "dropped"
def judged(text):
    # One document for all: the line rules of C4 leave the text that FineWeb's filter sees.
    document = Document(text=text, id="")
    return [reason(filter_, document) for filter_ in FILTERS]
judged("Some words to begin with.")
start = time.process_time()
found = [judged(text) for text in texts]
print(json.dumps([time.process_time() - start, found]))
"""


def texts_of(files: list[Path], lang: str | None = None) -> pa.Array:
    """Return the texts of Parquet files, of one language if asked for."""
    rows = pa.concat_tables(pq.read_table(path, columns=["text", "lang"]) for path in files)
    rows = rows.filter(pc.equal(rows["lang"], lang)) if lang else rows
    return rows["text"].cast(pa.large_string()).combine_chunks()


def ours(texts: pa.Array) -> dict[str, np.ndarray]:
    """Return reason -> bool [N]."""
    return dict(judge(*text_buffers(texts), np.ones(len(texts), bool), RULES, {}).broken)


def by_filter(broken: dict[str, np.ndarray]) -> list[list[str | None]]:
    """Return for each document the first reason of each filter, None where it passes."""
    groups = {
        f"{prefix}_{rule.field}": name
        for name, (prefix, _, rules) in zip(FILTERS, RULES.groups(), strict=True)
        for rule in rules
    }
    order = [reason for reason in reasons() if reason in broken]
    count = len(next(iter(broken.values())))
    found: list[list[str | None]] = [[None] * len(FILTERS) for _ in range(count)]
    for reason in reversed(order):
        place = FILTERS.index(groups.get(reason, "c4"))
        for row in np.flatnonzero(broken[reason]):
            found[row][place] = reason
    return found


def peer(python: Path, texts: list[str], *, twin: bool) -> tuple[float, list[list[str | None]]]:
    """Return datatrove's CPU seconds and its reasons."""
    chars = ["".join(chr(code) for code in np.flatnonzero(kinds() & kind)) for kind in (ALONE, PUNCT, TERMINAL)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "texts.json")
        file.write_text(json.dumps([texts, *chars, twin]))
        command = [str(python), "-c", PEER, str(file)]
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    seconds, found = json.loads(run.stdout.splitlines()[-1])
    return seconds, found


def compare(texts: list[str], theirs: list[list[str | None]]) -> dict[str, Any]:
    """Return how many documents each filter decides otherwise, and the reasons of most of them."""
    mine = by_filter(ours(pa.array(texts, pa.large_string())))
    result: dict[str, Any] = {"documents": len(texts), "filters": {}}
    dropped = [0, 0, 0]
    for a, b in zip(mine, theirs, strict=True):
        dropped = [dropped[0] + any(a), dropped[1] + any(b), dropped[2] + (any(a) != any(b))]
    result |= dict(zip(("we_drop", "they_drop", "all_filters_differ"), dropped, strict=True))
    for place, name in enumerate(FILTERS):
        # What FineWeb's filter sees is the text that C4's leaves; there is none where C4's drops the document.
        both = [
            (a[place], b[place])
            for a, b in zip(mine, theirs, strict=True)
            if name != "fineweb" or (a[2] is None and b[2] is None)
        ]
        other = Counter(pair for pair in both if (pair[0] is None) != (pair[1] is None))
        shown = [[a or "kept", b or "kept", count] for (a, b), count in other.most_common(6)]
        result["filters"][name] = {"compared": len(both), "differ": sum(other.values()), "most": shown}
    return result


def speed(repeats: int, python: Path | None) -> dict[str, Any]:
    """Return MB/s of ours on English and on other languages of the bench corpus, and of datatrove's on some of it."""
    files = sorted((shared() / "data/bench").glob("*.parquet"))[:4]
    english, some = texts_of(files, "en"), texts_of(sorted((shared() / "data/small").glob("multilingual*.parquet")))
    ours(english[:10])
    made: dict[str, Any] = {}
    peers: list[float] = []
    ratios: list[float] = []
    few = english.slice(0, 600)
    rates: dict[str, list[float]] = {"english": [], "multilingual": []}
    for _ in range(repeats):
        for name, texts in (("english", english), ("multilingual", some)):
            rates[name].append(pc.sum(pc.binary_length(texts)).as_py() / MB / measured(lambda t=texts: ours(t)).cpu_s)
        if python is not None and len(peers) < 2:
            seconds, _ = peer(python, few.to_pylist(), twin=False)
            peers.append(pc.sum(pc.binary_length(few)).as_py() / MB / seconds)
            ratios.append(rates["english"][-1] / peers[-1])
    made |= {f"{name}_mb_per_cpu_s": float(np.median(values)) for name, values in rates.items()}
    if peers:
        made |= {"datatrove_mb_per_cpu_s": float(np.median(peers)), "ratio": float(np.median(ratios))}
    return made


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=None, help="folder for datatrove's virtual environment")
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--every", type=int, default=5, help="compare every n-th document (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = None if options.without_peers else python_of((options.peers or Path(folder)) / "datatrove", TROVE)
        result = speed(options.repeats, python)
        if python is not None:
            files = sorted((shared() / "data/small").glob("*.parquet"))
            result["same_words"] = compare(
                every := texts_of(files).to_pylist()[:: options.every], peer(python, every, twin=True)[1]
            )
            spoken = texts_of(files, "en").to_pylist()[:: options.every]
            result["as_shipped_english"] = compare(spoken, peer(python, spoken, twin=False)[1])
    rows = [(name, value) for name, value in result.items() if isinstance(value, float)]
    table("All rules, one thread", ("", "MB/s of CPU time, or ratio"), rows)
    for name in ("same_words", "as_shipped_english"):
        if name in result:
            found = result[name]
            told = [(f, c["compared"], c["differ"]) for f, c in found["filters"].items()]
            told.append(("all", found["documents"], found["all_filters_differ"]))
            table(f"Decisions beside datatrove, {name}", ("filter", "documents", "differ"), told)
            for filter_, counted in found["filters"].items():
                for mine, theirs, count in counted["most"]:
                    print(f"  {filter_}: ours {mine}, theirs {theirs}: {count}")
    finish(options, result)


if __name__ == "__main__":
    main()
