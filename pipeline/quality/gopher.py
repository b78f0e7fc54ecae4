"""Gopher's rules (Rae et al. 2021, appendix A1.1 and table A1), as datatrove applies them.

Reasons are `gopher_` and the field: datatrove's names, but for `stop_words`, which is `enough_stop_words` there, and
`below_alpha_threshold`, whose limit is called max_non_alpha_words_ratio there although it is the least share.
"""

from pydantic import Field

from pipeline.quality.rules import Group, Rule

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


class GopherQuality(Group):
    """Lengths, marks and words. `words` are those of which a document has `stop_words` different ones, as written."""

    short_doc: int | None = Field(50, ge=1)
    long_doc: int | None = Field(100_000, ge=1)
    below_avg_threshold: float | None = Field(3, gt=0)
    above_avg_threshold: float | None = Field(10, gt=0)
    too_many_hashes: float | None = Field(0.1, ge=0)
    too_many_ellipsis: float | None = Field(0.1, ge=0)
    too_many_bullets: float | None = Field(0.9, ge=0)
    too_many_end_ellipsis: float | None = Field(0.3, ge=0)
    below_alpha_threshold: float | None = Field(0.8, gt=0)
    stop_words: int | None = Field(2, ge=1)
    words: tuple[str, ...] = STOP_WORDS


QUALITY = (
    Rule("short_doc", "least", "plain_words"),
    Rule("long_doc", "most", "plain_words"),
    Rule("below_avg_threshold", "least", "plain_characters", "plain_words"),
    Rule("above_avg_threshold", "most", "plain_characters", "plain_words"),
    Rule("too_many_hashes", "most", "hashes", "words"),
    Rule("too_many_ellipsis", "most", "ellipses", "words"),
    Rule("too_many_bullets", "most", "bullet_lines", "lines"),
    Rule("too_many_end_ellipsis", "most", "ellipsis_lines", "lines"),
    Rule("below_alpha_threshold", "least", "alpha_words", "words"),
    Rule("stop_words", "least", "stop_words"),
)


class GopherRepetition(Group):
    """Shares of lines and paragraphs that came before, and of characters in them and in repeated n-grams of words."""

    dup_para_frac: float | None = Field(0.3, ge=0)
    dup_para_char_frac: float | None = Field(0.2, ge=0)
    dup_line_frac: float | None = Field(0.3, ge=0)
    dup_line_char_frac: float | None = Field(0.2, ge=0)
    top_2_gram: float | None = Field(0.2, ge=0)
    top_3_gram: float | None = Field(0.18, ge=0)
    top_4_gram: float | None = Field(0.16, ge=0)
    duplicated_5_n_grams: float | None = Field(0.15, ge=0)
    duplicated_6_n_grams: float | None = Field(0.14, ge=0)
    duplicated_7_n_grams: float | None = Field(0.13, ge=0)
    duplicated_8_n_grams: float | None = Field(0.12, ge=0)
    duplicated_9_n_grams: float | None = Field(0.11, ge=0)
    duplicated_10_n_grams: float | None = Field(0.10, ge=0)


REPETITION = (
    Rule("dup_para_frac", "most", "repeated_paragraphs", "paragraphs"),
    Rule("dup_para_char_frac", "most", "repeated_paragraph_characters", "characters"),
    Rule("dup_line_frac", "most", "repeated_runs", "runs"),
    Rule("dup_line_char_frac", "most", "repeated_run_characters", "characters"),
    *(Rule(f"top_{n}_gram", "most", f"top_{n}_gram", "characters") for n in (2, 3, 4)),
    *(Rule(f"duplicated_{n}_n_grams", "most", f"repeated_{n}_grams", "characters") for n in range(5, 11)),
)
