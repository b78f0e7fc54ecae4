"""Train a byte-level vocabulary on a sample of the kept documents: BPE, SuperBPE or parity-aware BPE.

Reads documents (doc_id, text, domain, bytes, and for parity the column of languages), and the file `parallel`; writes
tokenizer.json. A document is in the sample when its draw lies under its domain's share of the sample over the domain's
kept bytes, so the sample does not depend on files; it is read in the order of doc_id, so neither do the merges. How
text is cut is in `tokens.split`.
"""

from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pipeline.errors import ConfigError, DataError
from pipeline.stage import Stage, Step
from pipeline.tokens import parallel, split, superwords
from pipeline.tokens.bytelevel import to_bytes
from pipeline.tokens.sample import Drawn, draw
from pipeline.tokens.train_params import BYTES, TrainParams

PARALLEL = "parallel"


def train_tokenizer(texts: list[str], params: TrainParams) -> Tokenizer:
    """Return a BPE or SuperBPE; special tokens have the first ids. It may be smaller than asked on a small sample."""
    inside = params.merges() if params.kind == "bpe" else max(1, round(params.transition * params.merges()))
    tokenizer = _untrained(params)
    trainer = trainers.BpeTrainer(
        vocab_size=BYTES + len(params.special_tokens) + inside,
        special_tokens=list(params.special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return superwords.extend(tokenizer, texts, params) if params.kind == "superbpe" else tokenizer


def train_parity(
    texts: Mapping[str, list[str]], params: TrainParams, sentences: Mapping[str, list[str]] | None
) -> Tokenizer:
    """Return a parity-aware BPE of the texts of each language (Foroutan et al. 2025, "Parity-Aware BPE").

    Each merge is the one that the language with the worst compression gains by most; how well a language is compressed
    is told by `sentences`, the same ones in every language, or by params.ratio.
    """
    tokenizer, languages = _untrained(params), sorted(texts)
    trainer = trainers.ParityBpeTrainer(
        num_merges=params.merges(),
        variant=params.variant,
        global_merges=round(params.global_merges * params.merges()),
        min_frequency=2,
        special_tokens=list(params.special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trainer.train_from_iterator(
        tokenizer,
        [iter(texts[name]) for name in languages],
        dev_iterators=[iter(sentences[name]) for name in languages] if sentences else None,
        ratio=[params.ratio[name] for name in languages] if params.ratio else None,
    )
    return tokenizer


def _untrained(params: TrainParams) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split.pre_tokenizer(params.narrow())
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def by_language(documents: list[Drawn], params: TrainParams, measured: Mapping[str, object]) -> dict[str, list[str]]:
    """Return the texts of each language; documents whose language is null are left out.

    Raises:
        DataError: fewer than two languages, or one that neither the parallel text nor the ratio knows.
    """
    texts: dict[str, list[str]] = {}
    for document in documents:
        if document.language:
            texts.setdefault(document.language, []).append(document.text)
    if len(texts) < 2:
        found = ", ".join(texts) or "none"
        raise DataError(
            f"tokens.train: parity is between languages; column {params.languages!r} of the sample: {found}"
        )
    if missing := sorted(set(texts) - set(measured)):
        raise DataError(
            f"tokens.train: no {'ratio' if params.ratio else 'parallel text'} of {missing[0]!r}, which is in column "
            f"{params.languages!r} of the sample. It has {', '.join(sorted(texts))}; known are "
            f"{', '.join(sorted(measured))}. Add it, or keep such documents from this step by a mask"
        )
    return texts


def check(params: TrainParams, files: Mapping[str, Path]) -> None:
    """Refuse parity that nothing measures, or that two things measure, and parallel text that cannot be read."""
    given = [name for name, there in ((PARALLEL, PARALLEL in files), ("ratio", params.ratio)) if there]
    if params.kind != "parity" and PARALLEL in files:
        raise ConfigError(f"parallel text is of kind parity, and kind is {params.kind}: leave out one of the two")
    if params.kind == "parity" and len(given) != 1:
        raise ConfigError(
            "parity wants either parallel text (`tokens.parallel: FILE`, a table with one column a language) or the "
            f"param `ratio` of this step; given are {' and '.join(given) or 'neither'}"
        )
    if PARALLEL in files:
        parallel.read(files[PARALLEL])


def train(step: Step, params: TrainParams) -> None:
    """Draw the sample, train in this process."""
    check(params, step.files)
    documents, notes = sample = draw(step, params)
    if params.kind == "parity":
        sentences = parallel.read(step.files[PARALLEL]) if PARALLEL in step.files else None
        texts = by_language(documents, params, sentences or params.ratio or {})
        tokenizer = train_parity(texts, params, sentences)
        step.note(sample_bytes_by_language=sample.sizes("language"))
    else:
        tokenizer = train_tokenizer([document.text for document in documents], params)
    size = tokenizer.get_vocab_size()
    if size < params.vocab_size:
        notes = [*notes, f"the sample has pairs for a vocabulary of {size:,}; vocab_size is {params.vocab_size:,}"]
    step.write_file("tokenizer.json", tokenizer.to_str(pretty=True).encode())
    step.note(
        kind=params.kind,
        vocab_size=size,
        eos=params.special_tokens[0],
        sample_documents=len(documents),
        sample_bytes_by_domain=sample.sizes("domain"),
        superwords=sum(len((to_bytes(name) or b"").split()) > 1 for name in tokenizer.get_vocab()),
        notes=notes,
    )


TRAIN = Stage(
    name="tokens.train",
    version=1,
    params=TrainParams,
    inputs=("documents",),
    optional=("mask", PARALLEL),
    run=train,
    check=check,
)
