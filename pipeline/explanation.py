"""Why two fingerprints differ: the fields of two manifests side by side, followed down to the inputs that made them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline import builds, records, store
from pipeline.corpus import Corpus
from pipeline.errors import ConfigError
from pipeline.identity import SHORT, differences

IDENTITY_FIELDS = ("stage", "version", "params", "inputs")


@dataclass(frozen=True)
class Difference:
    """One field in which two steps differ. `step` is the path of inputs that leads to it; absent values are None."""

    step: str
    field: str
    left: Any
    right: Any

    def to_json(self) -> dict[str, Any]:
        """Return the difference as plain JSON."""
        return asdict(self)


def explain(left: Path, right: Path) -> list[Difference]:
    """Return the differing fields of two corpora, or of the steps of two builds by name; empty if there are none.

    Of builds, only causes are told: a step that differs because a step before it does is not.

    An input whose fingerprint differs is opened, where both its corpora can be found, and its own differences follow.

    Raises:
        ConfigError: one of the paths is neither a corpus nor a build, or they are not of one kind.
    """
    ours, theirs = _steps(left), _steps(right)
    if set(ours) == {""} or set(theirs) == {""}:
        if set(ours) != set(theirs):
            raise ConfigError(f"{left} and {right} are not both corpora or both builds; give two of a kind")
        return _corpora("", ours[""], theirs[""], set())
    found = []
    prints = {corpus.manifest.fingerprint for corpus in (*ours.values(), *theirs.values())}
    for name in dict.fromkeys([*ours, *theirs]):
        if name not in ours or name not in theirs:
            found.append(Difference(name, "step", name in ours or None, name in theirs or None))
        else:
            found += _manifests(name, ours[name], theirs[name])
    # An input that is itself a step of the builds is told by that step's own differences.
    return [d for d in found if not (d.field.startswith("inputs.") and {d.left, d.right} <= prints)]


def _steps(path: Path) -> dict[str, Corpus]:
    folder = path.parent if path.name in (store.MANIFEST, records.BUILD) else path
    corpus = store.open_corpus(folder)
    if corpus is not None:
        return {"": corpus}
    if records.read_record(folder) is not None:
        return dict(builds.open_build(folder).corpora)
    raise ConfigError(f"{path} is neither a finished corpus (with {store.MANIFEST}) nor a build (with {records.BUILD})")


def _corpora(step: str, left: Corpus, right: Corpus, seen: set[tuple[str, str]]) -> list[Difference]:
    found = _manifests(step, left, right)
    for difference in list(found):
        pair = (difference.left, difference.right)
        if not difference.field.startswith("inputs.") or None in pair or pair in seen:
            continue
        seen.add(pair)
        ours, theirs = _input(left, pair[0]), _input(right, pair[1])
        if ours and theirs:
            role = difference.field.removeprefix("inputs.")
            found += _corpora(f"{step}.{role}" if step else role, ours, theirs, seen)
    return found


def _manifests(step: str, left: Corpus, right: Corpus) -> list[Difference]:
    ours, theirs = (corpus.manifest.model_dump(mode="json", include=set(IDENTITY_FIELDS)) for corpus in (left, right))
    return [Difference(step, *found) for found in differences(ours, theirs)]


def _input(corpus: Corpus, fingerprint: str) -> Corpus | None:
    for root in corpus.root.parent.glob(f"*-{fingerprint[:SHORT]}"):
        return store.open_corpus(root)
    return None
