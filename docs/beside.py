"""A hook of the site: what its pages link to in the repository, beside ``docs/``, is part of it."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

LINK = re.compile(r"\]\(([^)#\s]+)")
OUTSIDE = ".."
FOLDER = "repository"
"""Of the site, where such files are."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """With what pages name outside ``docs/``; what is not there stays a broken link."""
    for uri in sorted({uri for page in files.documentation_pages() for uri in _linked(page)}):
        path = Path(config.docs_dir) / uri
        if uri.startswith(OUTSIDE) and path.is_file():
            file = File.generated(config, uri, abs_src_path=str(path), inclusion=InclusionLevel.INCLUDED)
            file.dest_uri = FOLDER + file.dest_uri.removeprefix(OUTSIDE)
            files.append(file)
    return files


def _linked(page: File) -> set[str]:
    return {normpath(join(dirname(page.src_uri), link)) for link in LINK.findall(page.content_string)}
