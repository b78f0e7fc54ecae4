"""How text is cut before merges are learned: published splits, and policies for digits and white space.

    llama3  contractions; a word with the character before it; up to three digits; signs; line ends; white space
            (Meta's Llama 3, tokenizer.py; the same as OpenAI's cl100k_base but for possessive quantifiers)
    qwen2   llama3 with single digits (Qwen2's tokenizer.json)
    gpt2    contractions in lower case; words, digits and signs, each with the space before it (OpenAI's GPT-2,
            encoder.py)
    o200k   words end where a capital follows a small letter, keep their combining marks and a contraction behind them
            (OpenAI's tiktoken, openai_public.py)

A policy that is not given is that of the split as published.
"""

from typing import Literal

from tokenizers import Regex, pre_tokenizers

SplitName = Literal["llama3", "qwen2", "gpt2", "o200k"]
Digits = Literal["threes", "single", "whole"]
Whitespace = Literal["runs", "single"]

_DIGITS: dict[Digits, str] = {"threes": r"\p{N}{1,3}", "single": r"\p{N}", "whole": r"\p{N}+"}
_OWN_DIGITS: dict[SplitName, Digits] = {"llama3": "threes", "qwen2": "single", "gpt2": "whole", "o200k": "threes"}
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_CAPITAL, _SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_LLAMA = _CONTRACTION + rf"|{_BEFORE}\p{{L}}+|DIGITS| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|"
_PATTERNS: dict[SplitName, str] = {
    "llama3": _LLAMA,
    "qwen2": _LLAMA,
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?DIGITS| ?[^\s\p{L}\p{N}]+|",
    "o200k": (
        rf"{_BEFORE}{_CAPITAL}*{_SMALL}+{_CONTRACTION}?|{_BEFORE}{_CAPITAL}+{_SMALL}*{_CONTRACTION}?"
        r"|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
    ),
}


def pattern(split: SplitName, digits: Digits | None = None, whitespace: Whitespace = "runs") -> str:
    """Return the regular expression whose matches are the pieces of a text.

    Runs of white space are a piece each, but for the space that a word takes; or each character of them is one.
    """
    lines = r"\s*[\r\n]+|" if split != "gpt2" else ""
    tail = lines + r"\s+(?!\S)|\s+" if whitespace == "runs" else r"\s"
    return _PATTERNS[split].replace("DIGITS", _DIGITS[digits or _OWN_DIGITS[split]]) + tail


def wide_pattern(split: SplitName, digits: Digits | None = None, whitespace: Whitespace = "runs") -> str:
    """Return the expression that sets apart what no superword may hold; what lies between its matches is a piece.

    It is that of SuperBPE's second stage (Liu et al. 2025, scripts/extend_tokenizer.sh): digits, runs of signs, and
    spaces before a space; with the policies above in the place of its own.
    """
    own = ("" if split != "gpt2" else " ?") + _DIGITS[digits or _OWN_DIGITS[split]]
    blanks = r" +(?!\S)" if whitespace == "runs" else r"\s(?=\s)"
    return rf"{own}| ?[^\s\p{{L}}\p{{N}}]{{2,}}[\r\n/]*|{blanks}"


def pre_tokenizer(expression: str) -> pre_tokenizers.PreTokenizer:
    """Return the pre-tokenizer that cuts by an expression and shows every byte as one character."""
    parts = [
        pre_tokenizers.Split(Regex(expression), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return pre_tokenizers.Sequence(parts)
