"""Every stage a recipe may name, and where it lives. Adding one is a line here."""

import difflib
import importlib

from pipeline.errors import ConfigError
from pipeline.stage import Stage

STAGES: dict[str, str] = {
    "ingest": "pipeline.ingest.stage:INGEST",
    "dedup.exact": "pipeline.dedup.exact:EXACT",
    "dedup.sign": "pipeline.dedup.sign:SIGN",
    "dedup.match": "pipeline.dedup.match:MATCH",
    "dedup.verify": "pipeline.dedup.verify:VERIFY",
    "dedup.keep": "pipeline.dedup.keep:KEEP",
    "dedup.index": "pipeline.dedup.index:INDEX",
    "dedup.withdraw": "pipeline.dedup.withdraw:WITHDRAW",
    "dedup.lines": "pipeline.dedup.passages:LINES",
    "dedup.paragraphs": "pipeline.dedup.passages:PARAGRAPHS",
    "dedup.substrings": "pipeline.dedup.substrings:SUBSTRINGS",
    "dedup.bloom": "pipeline.dedup.bloom:BLOOM",
    "dedup.cut": "pipeline.dedup.cut:CUT",
    "quality.train": "pipeline.quality.train:TRAIN",
    "quality.score": "pipeline.quality.score:SCORE",
    "quality.losses": "pipeline.quality.losses:LOSSES",
    "quality.strength": "pipeline.quality.strength:STRENGTH",
    "quality.heuristics": "pipeline.quality.heuristics:HEURISTICS",
    "quality.select": "pipeline.quality.select:SELECT",
    "quality.verify": "pipeline.quality.verify:VERIFY",
    "quality.decontaminate": "pipeline.quality.decontaminate:DECONTAMINATE",
    "tokens.train": "pipeline.tokens.train:TRAIN",
    "tokens.encode": "pipeline.tokens.encode:ENCODE",
    "tokens.pack": "pipeline.tokens.pack:PACK",
    "tokens.megatron": "pipeline.tokens.megatron:MEGATRON",
    "mixture.plan": "pipeline.mixture.plan:PLAN",
    "mixture.sample": "pipeline.mixture.sample:SAMPLE",
    "mixture.train": "pipeline.mixture.train:TRAIN",
    "mixture.fit": "pipeline.mixture.fit:FIT",
    "mixture.recommend": "pipeline.mixture.recommend:RECOMMEND",
}


def find(name: str, version: int | None, where: str) -> Stage:
    """Return the stage called `name`: one of ours, or `module:name`, a user's own.

    Raises:
        ConfigError: there is none; says which there are.
    """
    if name in STAGES:
        if version is not None:
            raise ConfigError(f"{where}: {name} has its own version; leave `version` to functions of yours")
        module, attribute = STAGES[name].split(":")
        stage: Stage = getattr(importlib.import_module(module), attribute)
        return stage
    if ":" in name:
        from pipeline import custom

        return custom.stage(name, version, where)
    near = difflib.get_close_matches(name, STAGES, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ConfigError(
        f"{where}: no stage is called {name!r}{hint} There are {', '.join(STAGES)}, and `module:name` for one of yours."
    )
