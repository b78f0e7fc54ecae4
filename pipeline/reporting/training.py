"""Sections on what is trained on: lengths and tokens."""

from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, mapping
from pipeline.reporting.plots import Bar, Row, grouped, ridges

LENGTHS = "documents_by_length"
"""Fact of any step: domain -> counts, bin k being lengths from 2^k to below 2^(k + 1) tokens."""

KINDS = {"bpe": "byte-level BPE", "superbpe": "byte-level SuperBPE", "parity": "parity-aware BPE"}


def lengths(evidence: Evidence) -> str:
    """Return how long documents are, by domain, where a step has noted it."""
    parts = []
    for step in evidence.steps:
        counts = {d: c for d, c in mapping(step.facts, LENGTHS).items() if isinstance(c, list) and any(c)}
        if counts:
            parts.append(_length_picture(evidence, counts))
    return markup.section("lengths", "Document lengths", "", *parts) if parts else ""


def _length_picture(evidence: Evidence, counts: dict[str, list[int]]) -> str:
    first = min(next(i for i, n in enumerate(c) if n) for c in counts.values())
    last = max(i for c in counts.values() for i, n in enumerate(c) if n)
    rows = {d: (evidence.tone(d), _padded(counts[d], last + 1)[first:]) for d in evidence.ordered(counts)}
    names = [numerals.binary(1 << k) for k in range(first, last + 2)]
    picture = ridges("Documents by length and domain", rows, names=names, axis="tokens a document")
    return markup.figure(picture, "Documents by their length in tokens; each bin is twice as wide as the one before.")


def _padded(counts: list[int], bins: int) -> list[int]:
    return [*counts, *[0] * (bins - len(counts))]


def tokens(evidence: Evidence) -> str:
    """Return the vocabulary and how well it fits each domain; nothing where the build has no tokens."""
    encode = next(evidence.of_stage("tokens.encode"), None)
    train = next(evidence.of_stage("tokens.train"), None)
    if not encode and not train:
        return ""
    return markup.section(
        "tokens",
        "Tokens",
        "",
        markup.tiles(_vocabulary(encode, train)),
        _fit(evidence, encode) if encode else "",
        *(
            _note(said)
            for said in ([encode.facts.get("engine_note"), *encode.facts.get("notes", [])] if encode else [])
        ),
        _unused(evidence, encode) if encode else "",
        _sample(evidence, train) if train else "",
        *(_note(said) for said in (train.facts.get("notes", []) if train else [])),
    )


def _vocabulary(encode: Told | None, train: Told | None) -> dict[str, tuple[str, str]]:
    tiles: dict[str, tuple[str, str]] = {}
    facts = {**(train.facts if train else {}), **(encode.facts if encode else {})}
    if "vocab_size" in facts:
        kind = KINDS.get(str(facts.get("kind", "bpe")), "byte-level BPE")
        tiles["vocabulary"] = (
            numerals.count(facts["vocab_size"]),
            f"{kind}, trained here" if train else "brought along",
        )
    counts = [c for c in mapping(facts, "domains").values() if isinstance(c, dict)]
    total, size = sum(c.get("tokens", 0) for c in counts), sum(c.get("bytes", 0) for c in counts)
    if total:
        tiles["tokens"] = (numerals.short(total), f"of {numerals.size(size)} of text")
        tiles["bytes a token"] = (f"{size / total:.2f}", "over all domains")
    if "eos" in facts:
        tiles["end of document"] = (f"id {facts.get('eos_id', '?')}", str(facts["eos"]))
    if "engine" in facts:
        tiles["engine"] = (str(facts["engine"]), str(facts.get("dtype", "")))
    return tiles


def _fit(evidence: Evidence, encode: Told) -> str:
    counts = {d: c for d, c in mapping(encode.facts, "domains").items() if isinstance(c, dict) and c.get("tokens")}
    bars, rows = [], []
    for domain in evidence.ordered(counts):
        documents, size, number = (counts[domain].get(name, 0) for name in ("documents", "bytes", "tokens"))
        bars.append(Row(domain, (Bar(size / number, evidence.tone(domain), f"{size / number:.2f}"),)))
        mean = numerals.count(number / documents) if documents else ""
        rows.append([domain, documents, numerals.size(size), number, f"{size / number:.3f}", mean])
    head = ("domain", "documents", "text", "tokens", "bytes a token", "tokens a document")
    picture = grouped("Bytes of text a token, by domain", bars) if bars else ""
    return markup.figure(picture, "Bytes of text a token stands for: more is denser.") + markup.table(head, rows)


def _unused(evidence: Evidence, encode: Told) -> str:
    """Return which tokens of the vocabulary this corpus never has; nothing where it was not counted."""
    use = mapping(encode.facts, "vocabulary_use")
    if not use:
        return ""
    total, by_domain = use["tokens"], mapping(use, "unused_by_domain")
    numbers = {f"under {use['least']} times": use["under_least"], "never": use["unused"]}
    numbers |= {f"never in {domain}": by_domain[domain] for domain in evidence.ordered(by_domain)}
    rows = [[name, number, numerals.share(number, total)] for name, number in numbers.items()]
    never = [[repr(token["token"]), str(token["id"])] for token in use["never"]]
    return (
        markup.words(f"How often the {numerals.count(total)} tokens of the vocabulary come, added ones left out", "h3")
        + markup.table(("come", "tokens", "of the vocabulary"), rows)
        + markup.folded(f"The last {len(never)} by id that never come", markup.table(("token", "id"), never))
    )


def _note(said: Any) -> str:
    return markup.words(str(said), kind="note") if said else ""


def _sample(evidence: Evidence, train: Told) -> str:
    sizes = mapping(train.facts, "sample_bytes_by_domain")
    total = sum(sizes.values())
    rows = [[d, numerals.size(sizes[d]), numerals.share(sizes[d], total)] for d in evidence.ordered(sizes)]
    title = f"What the vocabulary was trained on ({numerals.count(train.facts.get('sample_documents', 0))} documents)"
    return markup.words(title, "h3") + markup.table(("domain", "text", "share"), rows) if rows else ""
