"""Sections on the mixture: how its weights were found, what they rest on, and what the plan makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.reporting import markup, numerals
from pipeline.reporting.evidence import Evidence, Told, listed, mapping
from pipeline.reporting.plots import Bar, Row, grouped, heat, scatter

FIT, RECOMMEND, TRAIN = "mixture.fit", "mixture.recommend", "mixture.train"
PICTURES = 6
"""Targets whose guesses are drawn; the tables have all."""
OPERATIONS = 6
"""Of a training, for each parameter and token: two forwards, four backwards."""
COMPARED = {"recommended": "r1", "natural": "want"}


def weights(evidence: Evidence) -> str:
    """Return how the weights of the mixture were found; nothing where the build fits no law to runs."""
    fits, found = list(evidence.of_stage(FIT)), list(evidence.of_stage(RECOMMEND))
    if not fits and not found:
        return ""
    return markup.section(
        "weights",
        "How the mixture was found",
        "Small models, the proxies, were trained on many mixtures; laws fitted to their losses guess what any mixture "
        "would give. Losses are lower where a mixture is better.",
        *(_recommended(evidence, step) for step in found),
        *(_effects(evidence, step) for step in found),
        *(_believed(step) for step in fits),
        *(_guesses(step) for step in (*found, *fits)),
        *(_laws(step) for step in fits),
        *(_cost(step) for step in evidence.of_stage(TRAIN)),
    )


def _recommended(evidence: Evidence, step: Told) -> str:
    """Return the recommendation: its gain, its shares beside the natural ones and the caps, and the other mixtures."""
    facts, shares = step.facts, mapping(step.facts, "shares")
    gain, error = facts.get("gain_over_natural", 0.0), facts.get("gain_error", 0.0)
    natural = facts.get("method") == "natural"
    verdict = ("natural", "nothing else is surely better") if natural else ("other shares", str(facts.get("method")))
    tiles = {
        "recommended": verdict,
        "gain over natural": (f"{gain:.4g}", "what the best mixture found saves of the expected loss"),
        "error of the laws": (f"{error:.4g}", "two of three runs held out lie nearer to their guess"),
    }
    rows = [_share_row(domain, shares[domain]) for domain in evidence.ordered(shares)]
    picture = grouped("Recommended and natural shares, and the most that a domain may have", rows)
    tones = COMPARED | {"the most it may have": "keep"}
    caption = "Shares of the tokens. The most is what epochs, budget and ceilings leave."
    return (
        markup.tiles(tiles)
        + "".join(markup.words(str(note), kind="note") for note in facts.get("notes", ()))
        + markup.figure(picture, caption, markup.key(tones))
        + _expected(mapping(facts, "expected"), mapping(facts, "by_target"))
        + markup.folded("Shares of every mixture compared", _share_table(evidence, shares))
    )


def _share_row(domain: str, shares: Mapping[str, float]) -> Row:
    values = {tone: shares.get(name, 0.0) for name, tone in COMPARED.items()} | {"keep": shares.get("ceiling", 1.0)}
    return Row(domain, tuple(Bar(value, tone, numerals.share(value, 1)) for tone, value in values.items()))


def _share_table(evidence: Evidence, shares: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(name for row in shares.values() for name in row))
    rows = [[d, *(f"{shares[d][name]:.4f}" for name in names)] for d in evidence.ordered(shares)]
    return markup.table(("domain", *(name.replace("_", " ") for name in names)), rows)


def _expected(expected: Mapping[str, Any], by_target: Mapping[str, Any]) -> str:
    targets = list(dict.fromkeys(name for losses in by_target.values() for name in losses))[:PICTURES]
    rows: list[list[markup.Cell]] = []
    for name, row in expected.items():
        interval = f"{row['from']:.4f} to {row['to']:.4f}"
        losses = [f"{by_target[name][target]:.4f}" for target in targets] if name in by_target else []
        rows.append([name.replace("_", " "), f"{row['loss']:.4f}", interval, *losses])
    head = ("mixture", "expected loss", "9 of 10 runs within", *targets)
    return markup.words("What is expected of each mixture", "h3") + markup.table(head, rows) if rows else ""


def _effects(evidence: Evidence, step: Told) -> str:
    found = mapping(step.facts, "effects")
    picture = heat("Effect of each domain on each target", {d: found[d] for d in evidence.ordered(found)})
    caption = (
        "How the expected loss of each target changes when a domain's share goes up by 0.1 from the natural mixture "
        "and the others give in proportion. Blue is better, red is worse."
    )
    return markup.words("What more of each domain does", "h3") + markup.figure(picture, caption) if picture else ""


def _believed(step: Told) -> str:
    """Return the gates in words, and whether more runs would help."""
    gates = listed(step.facts, "gates")
    rows = [[row["target"], row["gate"], row["verdict"], row["meaning"]] for row in gates]
    poor = sum(row["verdict"] == "poor" for row in gates)
    said = "every gate that could be asked is good" if not poor else f"{poor} of {len(gates)} gates are poor"
    runs, mixtures = step.facts.get("runs", 0), step.facts.get("mixtures", 0)
    lead = f"{numerals.count(runs)} runs of {numerals.count(mixtures)} mixtures; {said}."
    targets = mapping(step.facts, "targets")
    more = {name: target.get("more_runs") for name, target in targets.items()}
    return (
        markup.words("May the runs be believed?", "h3")
        + markup.words(lead)
        + markup.table(("target", "gate", "verdict", "what it means"), rows, left=4)
        + markup.words("Would more runs help?", "h3")
        + markup.pairs(more)
        + "".join(markup.words(str(note), kind="note") for note in step.facts.get("notes", ()))
    )


def _guesses(step: Told) -> str:
    """Return guesses beside what was found: of the wanted mean, or of the first targets."""
    guessed = step.facts.get("guessed")
    if not isinstance(guessed, Mapping):
        return ""
    if "expected" in guessed:
        title = "The wanted mean of losses, guessed and found"
        return markup.words("Guesses of runs held out", "h3") + markup.figure(_cloud(title, guessed), title + ".")
    some = list(guessed.items())[:PICTURES]
    return markup.columns(*(markup.figure(_cloud(f"{n}, guessed and found", pairs), f"{n}.") for n, pairs in some))


def _cloud(title: str, guessed: Mapping[str, Sequence[float]]) -> str:
    pairs = zip(guessed.get("expected", ()), guessed.get("found", ()), strict=True)
    points = [(x, y, f"guessed {x:.4f}, found {y:.4f}") for x, y in pairs]
    return scatter(title, points, axes=("guessed while held out", "found"))


def _laws(step: Told) -> str:
    """Return what held-out runs say of every law, target by target, and the error by the number of runs."""
    judged, targets = mapping(step.facts, "laws"), mapping(step.facts, "targets")
    names = list(dict.fromkeys(law for laws in judged.values() for law in laws))
    rows = []
    for name, target in targets.items():
        laws = mapping(judged, name)
        errors = [f"{laws[law]['rmse']:.4f}" if law in laws else None for law in names]
        figures = (target.get("rank"), target.get("spread"), target.get("noise"))
        shown = [None if figure is None else f"{figure:.4f}" for figure in figures]
        rows.append([name, str(target.get("law")), *shown, *errors])
    head = ("target", "law chosen", "rank", "spread", "noise", *(f"error of {name}" for name in names))
    curve = [[row["target"], row["runs"], f"{row['rmse']:.4f}"] for row in listed(step.facts, "error_by_runs")]
    by_runs = markup.table(("target", "runs", "error of the power law"), curve)
    return (
        markup.words("Laws, judged by runs held out", "h3")
        + markup.table(head, rows, left=2)
        + markup.folded("Error by the number of runs", by_runs)
    )


def _cost(step: Told) -> str:
    """Return what the proxies were and cost, and how often they read each domain."""
    facts, model = step.facts, mapping(step.facts, "model")
    if not model:
        return ""
    runs, tokens, size = facts.get("runs", 0), facts.get("tokens", 0), model.get("parameters", 0)
    tiles = {
        "proxies": (numerals.count(runs), f"of the size {model.get('setting', '')}"),
        "parameters": (numerals.short(size), f"{numerals.count(model.get('vocabulary', 0))} words in the vocabulary"),
        "tokens": (numerals.short(tokens), f"{numerals.short(model.get('budget_tokens', 0))} each"),
        "operations": (f"{OPERATIONS * size * tokens:.2g}", "6 for each parameter and token"),
    }
    domains = mapping(facts, "domains")
    names = ("available_tokens", "pool_tokens", "most_epochs", "target_epochs")
    rows = [[domain, *(domains[domain].get(name) for name in names)] for domain in domains]
    head = ("domain", "available", "read by proxies", "most epochs of a proxy", "of the target, so weighed")
    return (
        markup.words("What the proxies cost", "h3")
        + markup.tiles(tiles)
        + "".join(markup.words(str(note), kind="note") for note in facts.get("notes", ()))
        + markup.table(head, rows)
    )


def mixture(evidence: Evidence) -> str:
    """Return natural, asked and taken shares, epochs and losses; nothing where the build has no plan."""
    plan = _plan(evidence)
    if not plan or not mapping(plan.facts, "domains"):
        return ""
    facts, domains = plan.facts, mapping(plan.facts, "domains")
    available = sum(entry.get("available_tokens", 0) for entry in domains.values())
    tiles = {
        "tokens taken": (numerals.short(facts.get("tokens", 0)), f"{numerals.count(facts.get('tokens', 0))} exactly"),
        "budget": (numerals.short(facts.get("budget_tokens", 0)), f"{numerals.short(available)} available"),
        "most epochs allowed": (f"{facts.get('max_epochs', 0):g}", f"at the cap: {facts.get('on_cap', '')}"),
    }
    tones = {"natural (as available)": "want", "asked": "keep", "taken": "r1"}
    rows = [
        _shares(d, domains[d], available, facts.get("tokens", 0), list(tones.values()))
        for d in evidence.ordered(domains)
    ]
    picture = grouped("Natural, asked and taken shares of tokens by domain", rows)
    return markup.section(
        "mixture",
        "Mixture",
        "Which share of the tokens each domain has by nature, was asked for, and gives.",
        markup.tiles(tiles),
        markup.figure(picture, "Shares of tokens.", markup.key(tones)),
        "".join(markup.words(str(note), kind="note") for note in facts.get("notes", ())),
        _mixture_table(evidence, domains),
    )


def _plan(evidence: Evidence) -> Told | None:
    """Return the plan that is packed by; the last one where nothing is packed."""
    plans = list(evidence.of_stage("mixture.plan"))
    packed = {pack.roles.get("plan") for pack in evidence.packs}
    return next((plan for plan in plans if plan.name in packed), plans[-1] if plans else None)


def _shares(domain: str, entry: dict[str, Any], available: int, taken: int, tones: list[str]) -> Row:
    parts = (entry.get("available_tokens", 0), available), (entry.get("weight", 0), 1), (entry.get("tokens", 0), taken)
    bars = [Bar(a / b if b else 0, tone, numerals.share(a, b)) for (a, b), tone in zip(parts, tones, strict=True)]
    return Row(domain, tuple(bars))


def _mixture_table(evidence: Evidence, domains: Any) -> str:
    names = ("documents", "available_tokens", "asked_tokens", "tokens")
    rows = []
    for domain in evidence.ordered(domains):
        entry = domains[domain]
        capped = "at the cap" if entry.get("capped") else ""
        numbers = [entry.get(name) for name in names]
        rows.append([domain, *numbers, f"{entry.get('epochs', 0):.3f}", entry.get("lost_to_cap"), capped])
    totals = [sum(domains[d].get(name, 0) for d in domains) for name in names]
    lost = sum(domains[d].get("lost_to_cap", 0) for d in domains)
    head = ("domain", "documents", "available", "asked", "taken", "epochs", "lost to the cap", "")
    return markup.table(head, rows, foot=["all", *totals, "", lost, ""])
