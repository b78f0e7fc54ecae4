"""What a person sees of a build: progress while it runs, one line a step, tables."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipeline import ledger
from pipeline.corpus import Corpus
from pipeline.plans import Planned
from pipeline.store import Record


class StepLines:
    """Prints a line a step; on a terminal, a moving bar with shards, rows, MB/s and the time left as well."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(soft_wrap=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} shards {task.fields[flow]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._bar: TaskID | None = None
        self._title = ""
        self._widths = (0, 0)
        self._rows = self._bytes = 0
        self._since = 0.0

    def __enter__(self) -> "StepLines":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, steps: Sequence[Planned], notes: Sequence[str]) -> None:
        """Make the columns as wide as the names of the steps, and print what a person should know of the sources."""
        number = len(f"[{len(steps)}/{len(steps)}] ")
        self._widths = (
            number + max(len(step.name) for step in steps),
            max(len(step.stage.name) for step in steps),
        )
        for note in notes:
            self.console.print(f"note: {note}", markup=False)

    def begin(self, step: Planned, index: int, total: int) -> None:
        """Start the bar of a step."""
        self._title = f"[{index + 1:>{len(str(total))}}/{total}] {step.name}"
        self._since, self._rows, self._bytes = time.monotonic(), 0, 0
        self._bar = self._progress.add_task(self._title, total=None, flow="")

    def shard(self, done: int, total: int, record: Record | None) -> None:
        """Move the bar."""
        if self._bar is None:
            return
        if record is not None:
            self._rows += sum(shard.rows for shard in record.shards)
            self._bytes += sum(shard.bytes for shard in record.shards)
        seconds = max(time.monotonic() - self._since, 1e-3)
        flow = f"{self._rows:,} rows {self._bytes / 1e6 / seconds:,.1f} MB/s"
        self._progress.update(self._bar, completed=done, total=total, flow=flow)

    def end(self, step: Planned, corpus: Corpus, *, kept: bool, seconds: float) -> None:
        """Replace the bar by the step's line."""
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        manifest = corpus.manifest
        took = "kept" if kept else f"{seconds:.1f} s"
        size = f"{manifest.rows:>11,} rows {human(manifest.bytes + manifest.files.bytes):>10}"
        title, stage = (f"{s:<{w}}" for s, w in zip((self._title, step.stage.name), self._widths, strict=True))
        self.console.print(f"{title} {stage} {size} {took:>8}  {outcome(corpus)}", markup=False)
        for note in manifest.facts.get("notes", ()):
            self.console.print(f"  note: {note}", markup=False)


def outcome(corpus: Corpus) -> str:
    """Return what a step decided, in a few words; empty for a step that decides nothing."""
    books = ledger.total(corpus.manifest.ledger)
    dropped = sum(books["dropped"].values())
    if not books["rows_in"]:
        return ""
    if not dropped:
        return f"{books['rows_kept']:,} kept"
    reasons = ", ".join(f"{name} {rows:,}" for name, rows in sorted(books["dropped"].items()))
    return f"{books['rows_kept']:,} kept, {dropped:,} dropped ({reasons})"


def human(size: int | float) -> str:
    """Return bytes for a person: `61.0 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """Print rows under their column names; those in `right` hold numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    Console(file=sys.stdout, highlight=False, markup=False).print(table)
