"""Builds made by hand, without any stage: the manifests that the tests of the report and of `show` read."""

import json
from pathlib import Path

from pipeline.builds import BUILD, Build
from pipeline.corpus import Corpus, Manifest, Shard, Shards
from pipeline.identity import digest
from pipeline.ledger import add, entry

READ = {"web": 4000, "reference": 2400, "books": 700, "code": 1800, "docs": 1500, "forum": 900, "multilingual": 398}
SIZE = {"web": 3200, "reference": 2700, "books": 18000, "code": 5100, "docs": 6400, "forum": 2600, "multilingual": 9000}
GONE = {"empty": 0.0004, "exact": 0.025, "near": 0.06, "low_quality": 0.3}


def books(domains, before, *reasons):
    """Return the ledger of a step, and what it leaves: rows by domain."""
    ledger, after = {}, {}
    for place, domain in enumerate(domains):
        rows = before[domain]
        lost = {reason: int(rows * GONE[reason] * (1 + place % 3)) for reason in reasons}
        after[domain] = rows - sum(lost.values())
        size = SIZE.get(domain, 1000)
        add(ledger, {domain: entry(after[domain], after[domain] * size)})
        for reason, count in lost.items():
            if count:
                add(ledger, {domain: entry(count, count * size, reason)})
    return ledger, after


def step(stage, params=None, inputs=None, ledger=None, facts=None, rows=0, name="part-00000.parquet"):
    """Return a manifest of one shard."""
    params, inputs = params or {}, inputs or {}
    shard = Shard(name, rows, 24 * rows, digest([stage, rows])[:32])
    print_ = digest([stage, params, inputs])
    made = {"ledger": ledger or {}, "facts": facts or {}, "shards": Shards([shard])}
    return Manifest(stage=stage, version=1, fingerprint=print_, params=params, inputs=inputs, **made)


def road(domains=tuple(READ)):
    """Return the manifests of every step of the whole road, by name."""
    rows = {domain: READ.get(domain, 500) for domain in domains}
    total = sum(rows.values())
    ingested, rows = books(domains, rows, "empty")
    exact, rows = books(domains, rows, "exact")
    near, rows = books(domains, rows, "near")
    steps = {
        "documents": step("ingest", {"shard_bytes": 1 << 26}, {d: digest(d) for d in domains}, ingested, rows=total)
    }
    steps["documents"] = steps["documents"].model_copy(update={"facts": {"files": dict.fromkeys(domains, 2)}})

    def of(*names):
        return {name: steps[name].fingerprint for name in names}

    facts = {name: fact for name, fact in _losses(domains, exact).items() if name in ("sources", "examples")}
    steps["exact"] = step("dedup.exact", {"priority": []}, of("documents"), exact, facts, rows=total)
    steps |= _near(of, total)
    steps["near"] = step("dedup.keep", {}, of("documents", "similar", "exact"), near, _losses(domains, near), total)
    return steps | _quality(steps, domains, rows, total) | _training(domains, rows)


def _near(of, total):
    """Return the steps between the exact copies and the near ones."""
    steps = {}
    sketch = {"ngram": 5, "bands": 20, "rows": 6, "seed": 0}
    steps["bands"] = step("dedup.sign", sketch, of("documents", "exact"), rows=total)
    keys = {"2": 410, "3 to 10": 96, "11 to 100": 7, "101 to 1,000": 1, "over 1,000": 0}
    hot = [{"key": "00ff" * 4, "documents": 640, "shard": "part-00000.parquet", "row": 1}]
    facts = {"pairs": 902, "documents_compared": 731, "keys": keys, "hot_keys": hot}
    steps["candidates"] = step("dedup.match", {"keep": "longest"}, of("documents", "exact"), facts=facts, rows=total)
    likeness = {"threshold": 0.8, "containment": None, "ngram": 5, "unit": "word"}
    facts = {"pairs_compared": 902, "pairs_alike": 700}
    steps["similar"] = step("dedup.verify", likeness, of("documents"), facts=facts, rows=total)
    return steps


def _losses(domains, ledger):
    """Return the facts of a step that drops duplicates: each domain lost a third of them to the domain before it."""
    sources, examples = {}, []
    for place, domain in enumerate(domains):
        for keeper, share in {domain: 2 / 3, domains[place - 1]: 1 / 3}.items():
            gone = sum(ledger[domain].get("dropped", {}).values())
            counts = {"documents": int(gone * share) + 1, "bytes": int(gone * share) * SIZE.get(domain, 1000)}
            sources.setdefault(domain, {})[keeper] = counts
            where = {"shard": "part-00000.parquet", "row": 2 * place, "keeper_shard": "part-00000.parquet"}
            ids = {"doc_id": digest([domain, keeper])[:32], "keeper": digest(keeper)[:32]}
            pair = {"domain": domain, "keeper_domain": keeper} | ids | {"similarity": 0.875}
            examples.append(pair | where | {"keeper_row": 1})
    similar = {"0.80": 102, "0.85": 133, "0.90": 190, "0.95": 201, "1.00": 44}
    sizes = {"2": 300, "3 to 10": 88}
    facts = {"clusters": 388, "documents_in_clusters": 1011, "cluster_sizes": sizes, "similarity": similar}
    return facts | {"sources": sources, "examples": examples}


def _quality(steps, domains, rows, total):
    selected, _ = books(domains, rows, "low_quality")
    found = {"positive": 3100, "negative": 4900}
    facts = {
        "documents_found": found,
        "bytes_found": {"positive": 21_000_000, "negative": 16_000_000},
        "learned_documents": {"positive": 2480, "negative": 2510},
        "validation_documents": {"positive": 310, "negative": 295},
        "held_out_documents": {"positive": 310, "negative": 295},
        "held_out_auc": 0.9731,
        "held_out_auc_of_length": 0.5512,
        "held_out_precision": {"5%": 1.0, "10%": 0.9875, "20%": 0.975, "50%": 0.91},
        "calibration": {"scale": 2.5, "shift": -0.25} | _calibrated(1.0) | {"before": _calibrated(0.6)},
        "features": {
            name: [
                {"feature": f"{word} {i}", "weight": sign * 9.5, "gap": 1 / i, "documents": 40 * i}
                for i in range(1, 31)
            ]
            for name, word, sign in (("positive", "theorem", 1), ("negative", "lol", -1))
        },
        "examples": {
            end: [
                {"doc_id": digest([end, i])[:32], "domain": domains[0], "score": score, "class": "positive"}
                | {"shard": "part-00000.parquet", "row": i}
                for i in range(3)
            ]
            for end, score in (("highest", 0.998), ("lowest", 0.0012))
        },
        "chosen": {"word_ngrams": 2, "learning_rate": 1.0, "epochs": 3},
        "validation_auc": [{"word_ngrams": 2, "learning_rate": 1.0, "epochs": 3, "auc": 0.971}],
        "log_loss": [0.41, 0.22, 0.19],
        "words": 48211,
    }
    model = step("quality.train", {"epochs": 3}, {"documents": steps["documents"].fingerprint}, facts=facts)
    shape = [(i - 9.5) ** 2 for i in range(20)]
    scores = {
        d: [int(rows[d] * (x + 8 * (i + p) % 60) / 900) for i, x in enumerate(shape)] for p, d in enumerate(domains)
    }
    score = step(
        "quality.score",
        {"models": [{"name": "score"}]},
        facts={"labels": {"score": "positive"}, "documents_by_score": {"score": scores}},
        rows=total,
    )
    cut = {"overall": {"threshold": 0.3625, "documents": total, "bytes": 40_000_000}}
    rule = {"share": 0.7, "threshold": None, "by": "bytes", "scope": "overall", "exempt": ["books"], "label_only": []}
    select = step("quality.select", rule, {"scores": score.fingerprint}, selected, {"by": "bytes", "cuts": cut}, total)
    return {"model": model, "scores": score, "select": select}


def _calibrated(slope):
    """Return what is told of scores that are `slope` times as far from one half as they should be."""
    tenths = [0.05 + i / 10 for i in range(10)]
    curve = [{"score": x, "positive": round(0.5 + slope * (x - 0.5), 6), "documents": 60} for x in tenths]
    return {"brier": 0.07, "calibration_error": round(abs(1 - slope) / 4 + 0.01, 6), "curve": curve}


def _training(domains, rows):
    tokenizer = step(
        "tokens.train",
        {"vocab_size": 16384},
        facts={
            "vocab_size": 16384,
            "eos": "<|endoftext|>",
            "sample_documents": 2100,
            "sample_bytes_by_domain": dict.fromkeys(domains, 1_400_000),
        },
    )
    counts = {d: {"documents": rows[d], "bytes": rows[d] * SIZE.get(d, 1000)} for d in domains}
    for place, domain in enumerate(domains):
        counts[domain]["tokens"] = int(counts[domain]["bytes"] / (3.1 + 0.21 * place))
    lengths = {
        d: [0] * 5 + [int(rows[d] * x / 100) for x in (2, 5, 11, 21, 27, 19, 10, 4, 1)][p % 3 :]
        for p, d in enumerate(domains)
    }
    facts = {"engine": "fastokens", "engine_note": "", "vocab_size": 16384, "eos": "<|endoftext|>", "eos_id": 0}
    facts |= {"dtype": "uint16", "domains": counts, "documents_by_length": lengths}
    use = {"tokens": 16383, "unused": 1207, "least": 100, "under_least": 5021}
    never = [{"id": 16380, "token": " solidgoldmagikarp<"}]
    facts["vocabulary_use"] = use | {"unused_by_domain": dict.fromkeys(counts, 4321), "never": never}
    encode = step(
        "tokens.encode", {"eos": None}, {"tokenizer": tokenizer.fingerprint}, facts=facts, rows=sum(rows.values())
    )
    plan = _plan(domains, counts)
    tokens, length = plan["tokens"], 2048
    sequences = tokens // length + 3
    by_domain = {
        d: {
            "planned_tokens": e["tokens"],
            "tokens": e["tokens"],
            "uses": e["documents"],
            "longer_than_a_sequence": 9 * p,
            "cut_into_pieces": 9 * p,
        }
        for p, (d, e) in enumerate(plan["domains"].items())
    }
    packed = {"sequence_length": length, "dtype": "uint16", "eos_id": 0, "pad_id": 0, "vocab_size": 16384}
    packed |= {"domains": list(domains), "tokens": tokens, "by_domain": by_domain, "segments": 3 * sequences}
    packed |= {"mode": "best_fit", "pieces_by_sequence": [sequences // 2, sequences - sequences // 2]}
    packed |= {"left_out": {domains[0]: {"short_rest": {"documents": 7, "tokens": 45}}}}
    used = {d: entry(rows[d], 2 * counts[d]["tokens"]) for d in domains}
    add(used, {domains[0]: entry(120, 9000, "beyond_budget")})
    return {
        "tokenizer": tokenizer,
        "tokens": encode,
        "plan": step("mixture.plan", {"weights": "uniform"}, {"tokens": encode.fingerprint}, facts=plan),
        "sequences": step(
            "tokens.pack", {"sequence_length": length}, {}, used, packed, sequences, "part-00000.rows.npy"
        ),
    }


def _plan(domains, counts):
    available = {d: c["tokens"] + c["documents"] for d, c in counts.items()}
    budget = sum(available.values())
    entries = {}
    for domain in domains:
        asked = budget // len(domains)
        tokens = min(asked, 4 * available[domain])
        entries[domain] = {
            "documents": counts[domain]["documents"],
            "available_tokens": available[domain],
            "weight": 1 / len(domains),
            "asked_tokens": asked,
            "tokens": tokens,
            "share": tokens / budget,
            "epochs": tokens / available[domain],
            "capped": asked > tokens,
            "lost_to_cap": asked - tokens,
        }
    taken = sum(e["tokens"] for e in entries.values())
    notes = [f"the budget of {budget:,} tokens was lowered to {taken:,}, so that the weights hold"]
    return {
        "budget_tokens": budget,
        "tokens": taken,
        "max_epochs": 4,
        "on_cap": "shrink",
        "notes": notes,
        "domains": entries,
    }


def build(root: Path, steps, name="demo", recipe=None) -> Build:
    """Write a build's record and manifests under `root` and return the build; its shards are not there."""
    corpora, record = {}, {}
    for step_name, manifest in steps.items():
        folder = f"{manifest.stage.rpartition(':')[2]}-{manifest.fingerprint[:12]}"
        place = root / "corpora" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "manifest.json").write_text(manifest.to_json())
        corpora[step_name] = Corpus(root=place, manifest=manifest)
        record[step_name] = {"folder": folder, "roles": {role: role for role in manifest.inputs}}
    folder = root / "builds" / name
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"name": name, "seed": 0, "sources": {"web": {"paths": ["data/web"]}}} if recipe is None else recipe
    (folder / BUILD).write_text(json.dumps({"name": name, "recipe": recipe, "steps": record}))
    return Build(name, folder, corpora)
