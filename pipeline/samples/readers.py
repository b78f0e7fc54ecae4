"""Documents out of a source archive: whole files, wiki articles, Factbook chapters, parliament's bills.

An archive is read member by member and never unpacked to disk, so no path in it can lead anywhere. Bytes are decoded as
strict UTF-8. Left out, and counted by reason: files with a NUL byte (`binary`), other bytes that are no UTF-8
(`not UTF-8`), texts of white space only (`blank`), wiki pages that only point to another (`redirect`), links, devices
and paths that leave the archive's top folder (`unsafe path`).
"""

import bz2
import html
import io
import json
import re
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pipeline.errors import PipelineError
from pipeline.samples.sources import Archive, Take

ASSEMBLY = 22
_MEDIAWIKI = "{http://www.mediawiki.org/xml/export-0.10/}"


class Document(NamedTuple):
    """One row of the sample; the fields are its columns, in order."""

    id: str
    text: str
    source: str
    url: str
    lang: str
    licence: str


class Contents(NamedTuple):
    """What an archive gave: documents, copied notices by path, and files left out by reason."""

    documents: list[Document]
    notices: dict[str, bytes]
    left_out: Counter[str]


def read_archive(archive: Archive, path: Path) -> Contents:
    """Return the documents and notices of a checked archive, in the order of its takes and of the paths.

    Raises:
        PipelineError: the archive is no tar, a notice is missing, or a take finds nothing.
    """
    left_out: Counter[str] = Counter()
    files: dict[Take, dict[str, bytes]] = {take: {} for take in archive.takes}
    notices: dict[str, bytes] = {}
    for member, content in _members(archive, path, left_out):
        take = next((take for take in archive.takes if take.matches(member)), None)
        if take:
            files[take][member] = content
        if member in archive.notices:
            notices[member] = content
    documents = [doc for take in archive.takes for doc in _documents(archive, take, files[take], left_out)]
    _check(archive, documents, notices)
    return Contents(documents, notices, left_out)


def _members(archive: Archive, path: Path, left_out: Counter[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (path below the top folder, bytes) of the regular files that a take or a notice asks for."""
    try:
        with tarfile.open(path, "r:*") as tar:
            for info in tar:
                _, _, member = info.name.partition("/")
                if not member or info.isdir():
                    continue
                wanted = member in archive.notices or any(take.matches(member) for take in archive.takes)
                if wanted and (not info.isreg() or ".." in PurePosixPath(info.name).parts or info.name[0] == "/"):
                    left_out["unsafe path"] += 1
                elif wanted and (file := tar.extractfile(info)):
                    yield member, file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise PipelineError(f"{archive.filename} cannot be read as a tar archive: {error}") from error


def _check(archive: Archive, documents: list[Document], notices: Mapping[str, bytes]) -> None:
    missing = sorted(set(archive.notices) - set(notices))
    if missing:
        raise PipelineError(f"{archive.filename} holds no {', '.join(missing)}: its licence cannot be shown beside it")
    given = {(doc.source, doc.lang) for doc in documents}
    empty = [f"{take.domain} ({take.lang})" for take in archive.takes if (take.domain, take.lang) not in given]
    if empty:
        raise PipelineError(f"{archive.filename} gave no document for {', '.join(empty)}")


def _documents(archive: Archive, take: Take, files: Mapping[str, bytes], left_out: Counter[str]) -> Iterator[Document]:
    """Yield the documents of one take; `where` is a path, with `#part` where a file holds several documents."""
    for where, text in _READERS[take.reader](dict(sorted(files.items())), left_out):
        if not text.strip():
            left_out["blank"] += 1
            continue
        name = f"{archive.name}/{archive.version}/{where}"
        url = f"pypi:{archive.name}=={archive.version}/{where}"
        yield Document(name, text, take.domain, url, take.lang, take.licence)


def _whole_files(files: Mapping[str, bytes], left_out: Counter[str]) -> Iterator[tuple[str, str]]:
    for path, content in files.items():
        if b"\0" in content:
            left_out["binary"] += 1
            continue
        try:
            yield path, content.decode("utf-8", "strict")
        except UnicodeDecodeError:
            left_out["not UTF-8"] += 1


def _wiki_articles(files: Mapping[str, bytes], left_out: Counter[str]) -> Iterator[tuple[str, str]]:
    for path, content in files.items():
        for _, page in ElementTree.iterparse(bz2.BZ2File(io.BytesIO(content))):
            if page.tag != _MEDIAWIKI + "page":
                continue
            title = page.findtext(_MEDIAWIKI + "title", "")
            if page.find(_MEDIAWIKI + "redirect") is not None or page.findtext(_MEDIAWIKI + "ns") != "0":
                left_out["redirect"] += 1
            else:
                markup = page.findtext(f"{_MEDIAWIKI}revision/{_MEDIAWIKI}text", "")
                yield f"{path}#{title}", f"{title}\n\n{plain_wiki(markup)}\n"
            page.clear()


_UNPRINTED = re.compile(
    r"<!--.*?-->|<(?:ref|references)\b[^<>]*/>"
    r"|<(ref|math|gallery|timeline|score|source|syntaxhighlight|imagemap|hiero)\b[^<>]*>.*?</\1\s*>",
    re.DOTALL | re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_TABLE = re.compile(r"\{\|(?:(?!\{\||\|\}).)*\|\}", re.DOTALL)
_LINK = re.compile(r"\[\[([^\[\]]*)\]\]")
_UNSHOWN_LINK = re.compile(r"(?:file|image|category|[a-z]{2,3}(?:-[a-z]+)?):", re.IGNORECASE)
_OUTWARD = re.compile(r"\[(?:[a-z]+:)?//\S+[ \t]*([^\]\n]*)\]")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_HEADING = re.compile(r"^=+[ \t]*(.*?)[ \t]*=+[ \t]*$", re.MULTILINE)
_BULLETS = {"*", "**", "***", "#", "##", ":", "::", ";", ":*", "*:"}
_MARKS = re.compile(r"'{2,}|__[A-Z]+__|\([\s,;]*\)")


def plain_wiki(markup: str) -> str:
    """Return the prose of a page in wiki markup: without templates, tables, references, pictures and link targets.

    What templates would have printed (a converted unit, say) is lost with them. An empty page gives an empty text.
    """
    text = _UNPRINTED.sub("", markup)
    text = _TAG.sub("", _innermost(_TABLE, _innermost(_TEMPLATE, text, ""), ""))
    text = _OUTWARD.sub(r"\1", _innermost(_LINK, text, _link_label))
    text = html.unescape(_HEADING.sub(r"\1", _MARKS.sub("", text))).replace("\xa0", " ")
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in text.splitlines())
    # A list item that held only a template or a reference is a bare bullet now.
    said = "\n".join("" if line in _BULLETS else line for line in lines)
    return re.sub(r"\n{3,}", "\n\n", said).strip()


def _innermost(pattern: re.Pattern[str], text: str, replacement: Any) -> str:
    """Replace matches from the inside out until none is left."""
    count = 1
    while count:
        text, count = pattern.subn(replacement, text)
    return text


def _link_label(link: re.Match[str]) -> str:
    target, *labels = link[1].split("|")
    return "" if _UNSHOWN_LINK.match(target) else (labels[-1] if labels else target)


def _factbook_chapters(files: Mapping[str, bytes], left_out: Counter[str]) -> Iterator[tuple[str, str]]:
    for path, content in files.items():
        chapters = json.loads(content.decode("utf-8", "strict"))
        country = _country(chapters) or PurePosixPath(path).parent.name.title()
        for chapter, fields in chapters.items():
            lines = [line for field, node in fields.items() for line in _factbook_lines(field, node)]
            yield f"{path}#{chapter}", "\n".join([f"{country}: {chapter}", "", *lines, ""]) if lines else ""


def _country(chapters: Mapping[str, Any]) -> str:
    government = chapters.get("Government", {})
    names = government.get("Country name", government.get("Union name", {}))
    forms = (names.get(f"conventional {form} form", {}).get("text", "none") for form in ("short", "long"))
    return next((_without_tags(form) for form in forms if form != "none"), "")


def _factbook_lines(field: str, node: Any) -> Iterator[str]:
    """Yield `field: text`, then the fields below it; a note already says that it is one."""
    if isinstance(node, str):
        text = _without_tags(node)
        if text:
            yield text if field.startswith("note") else f"{field}: {text}"
        return
    yield from _factbook_lines(field, node["text"]) if "text" in node else (field,)
    for below, child in node.items():
        if below != "text":
            yield from _factbook_lines(below, child)


def _without_tags(text: str) -> str:
    lines = html.unescape(_TAG.sub("", re.sub(r"<(?:br|/?p)\b[^<>]*>", "\n", text))).splitlines()
    return "\n".join(line.strip() for line in lines if line.strip())


def _bills(files: Mapping[str, bytes], left_out: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield title and reason of each bill of one assembly that has a reason."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = {PurePosixPath(path).name: pq.read_table(pa.BufferReader(content)) for path, content in files.items()}
    bills, texts = tables["bills.parquet"], tables["bill_texts.parquet"]
    columns = (bills[name].to_pylist() for name in ("BILL_ID", "BILL_NAME", "AGE"))
    titles = {bill: title for bill, title, age in zip(*columns, strict=True) if age == ASSEMBLY}
    path = next(path for path in files if path.endswith("bill_texts.parquet"))
    for bill, reason in zip(texts["BILL_ID"].to_pylist(), texts["propose_reason"].to_pylist(), strict=True):
        if bill in titles:
            yield f"{path}#{bill}", f"{titles[bill]}\n\n{reason}\n" if reason and reason.strip() else ""


_READERS = {"file": _whole_files, "wiki": _wiki_articles, "factbook": _factbook_chapters, "bills": _bills}
