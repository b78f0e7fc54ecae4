"""Small language models made on the spot: folders that Hugging Face transformers reads.

The tokenizer has the 256 bytes and 38 merges of common English pairs, so that a token is one byte or two.
"""

import json
from pathlib import Path

PAIRS = (
    "e |s |th|t |d |in|er|an|, |re|on|he|at|or|en|y |to|es|is|it|nd|o |r |n |ed|ti|ha|ar|te|st|nt|ou|al|a |f |ng|of|ve"
)
MERGES = [pair for pair in PAIRS.split("|") if len(pair) == 2]
BOS, UNKNOWN = "<s>", "<unk>"
TEXTS = [
    "",
    "a",
    "The windows of a document begin a stride apart.",
    "ein paar Wörter über Bäume, 木が三本. " * 5,
    "<s> and </s> are words of this text, not tokens of control",
    "one two three four five six seven eight nine ten " * 30,
    "\n\n  x = 1\n",
]


def byte_alphabet() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def write_tokenizer(folder: Path, *, bos: bool) -> None:
    """Write a byte-level BPE; with `bos` it puts `<s>` before every text, as Llama's does."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    words = [pair.replace(" ", "Ġ") for pair in MERGES]
    vocabulary = {token: i for i, token in enumerate([BOS, "</s>", *byte_alphabet(), *words])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(word) for word in words]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(BOS, special=True), AddedToken("</s>", special=True)])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_model(folder: Path, *, seed: int = 0, bos: bool = True, width: int = 32, positions: int = 64) -> Path:
    """Write a Llama of some 30,000 parameters drawn at random, wide enough of spread that its losses differ."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=positions,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    write_tokenizer(folder, bos=bos)
    return folder
