"""Download source archives with pip's own index client, without building or running anything in them.

Run as a script, in a process of its own, with this Python's pip: `python -P pip_client.py FOLDER NAME FILENAME ...`.
It writes FOLDER/FILENAME for each pair and prints FILENAME when it is whole. `pip download` is not used, because for a
source archive it first builds the metadata, which runs the archive's code. Everything configured for pip holds: index,
mirrors, find-links, certificates, proxy, cache. Needs the standard library and pip only.
"""

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any


def download(folder: Path, wanted: list[tuple[str, str]]) -> None:
    """Fetch every (package, file name) into `folder`.

    Raises:
        SystemExit: a file is not on the index, or the index cannot be reached; the message goes to stderr.
    """
    command = importlib.import_module("pip._internal.commands").create_command("download")
    options, _ = command.parse_args(["--no-deps", "--no-binary", ":all:", *(name for name, _ in wanted)])
    with command.main_context():
        session = command.get_default_session(options)
        # The texts do not depend on the Python they are read with.
        finder = command._build_package_finder(options=options, session=session, ignore_requires_python=True)
        for name, filename in wanted:
            _save(session, _link(finder, name, filename), folder / filename)
            print(filename, flush=True)


def _link(finder: Any, name: str, filename: str) -> Any:
    links = (candidate.link for candidate in finder.find_all_candidates(name))
    link = next((link for link in links if link.filename == filename), None)
    if link is None:
        sys.exit(f"pip found no {filename} of {name}: it is not on the configured index, or that cannot be reached")
    return link


def _save(session: Any, link: Any, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    response = session.get(link.url_without_fragment, headers={"Accept-Encoding": "identity"}, stream=True)
    response.raise_for_status()
    with part.open("wb") as file:
        for chunk in response.iter_content(1 << 20):
            file.write(chunk)
    os.replace(part, path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        download(Path(sys.argv[1]), list(zip(sys.argv[2::2], sys.argv[3::2], strict=True)))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # pip's own exceptions have no public names; the caller shows this line and what to do.
        sys.exit(f"{type(error).__name__}: {error}")
