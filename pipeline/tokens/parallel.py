"""Parallel text: a table with one column a language, and the same sentence in every column of a row."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from pipeline.errors import ConfigError


def read(path: Path) -> dict[str, list[str]]:
    """Return the sentences of each language, rows that lack one left out. Parquet, CSV or JSON Lines, by its name.

    Columns that hold no text, and a column `id`, are no languages.

    Raises:
        ConfigError: it cannot be read, no two languages have a row in common, or a cell is empty and yet not null.
    """
    try:
        if path.suffix == ".csv":
            strings = pa.csv.ConvertOptions(strings_can_be_null=True)
            table = pa.csv.read_csv(path, convert_options=strings)
        else:
            table = pa.json.read_json(path) if path.suffix in (".jsonl", ".json") else pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path} is no table of parallel text (Parquet, CSV or JSON Lines): {error}") from None
    texts = [field.name for field in table.schema if pa.types.is_string(field.type) or field.type == pa.large_string()]
    languages = [name for name in texts if name != "id"]
    rows = table.select(languages).drop_null()
    if len(languages) < 2 or not rows.num_rows:
        found = ", ".join(table.column_names) or "none"
        raise ConfigError(
            f"{path} holds {len(languages)} columns of text and {rows.num_rows} rows that have all of them; parallel "
            f"text is one column a language, at least two, the same sentence in each. Its columns: {found}"
        )
    sentences: dict[str, list[str]] = {name: rows[name].to_pylist() for name in languages}
    for name, some in sentences.items():
        if blank := next((place for place, text in enumerate(some, 1) if not text.strip()), None):
            raise ConfigError(
                f"{path}: column {name!r} is empty in row {blank:,} of those with all languages. Give the sentence "
                "in every language, or make the cell null, which leaves out the row"
            )
    return sentences
