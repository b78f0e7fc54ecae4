"""FineWeb's own rules (Penedo et al. 2024, section 3.6), as datatrove applies them.

Reasons are `fineweb_` and the field. They are about the text as the rules of C4 leave it, where these are on: so it is
in FineWeb.
"""

from pydantic import Field

from pipeline.quality.rules import Group, Rule


class FineWeb(Group):
    """Shares of lines; `short_line_length` in characters, `stops` are what may end a line (any full stop if None).

    FineWeb's first release had the stops `.'"!?`.
    """

    line_punct_ratio: float | None = Field(0.12, gt=0)
    short_line_ratio: float | None = Field(0.67, ge=0)
    char_dup_ratio: float | None = Field(0.01, ge=0)
    list_ratio: float | None = Field(0.3, ge=0)
    short_line_length: int = Field(30, ge=0)
    stops: str | None = None


FINEWEB = (
    Rule("line_punct_ratio", "least", "ended_lines", "full_lines"),
    Rule("short_line_ratio", "most", "short_lines", "full_lines"),
    Rule("char_dup_ratio", "most", "repeated_line_characters", "line_characters"),
    Rule("list_ratio", "most", "newlines", "words"),
)
