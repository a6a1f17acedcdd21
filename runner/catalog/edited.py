"""The jobs of a project as they would be with other content of one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runner.catalog.cache import matches
from runner.catalog.catalog import Catalog, Project, assemble, calendars_of, check_defaults, read_all, trust_of
from runner.catalog.files import Found, find_files, shown_as


def with_file(settings: Project, catalog: Catalog, path: Path, data: bytes | None) -> Catalog:
    """Return the jobs as they would be if the file at ``path`` held ``data``, or if there were no such file (None).

    Files that have not changed since ``catalog`` was read are not read again.
    """
    listing = find_files(settings.jobs_dir, settings.project, trust_of(settings))
    text = str(path)
    if data is None:
        listing.files = [found for found in listing.files if found.path != text]
    elif any(found.path == text for found in listing.files):
        listing.files = [replace(found, data=data) if found.path == text else found for found in listing.files]
    else:
        listing.files.append(Found(text, shown_as(text, settings.project), [], trust_of(settings), data))
    defaults, problems = check_defaults(settings.defaults, settings.files)
    listing.problems += problems
    # Faults in the defaults disable every job; each file has to be read with what is sound of them.
    known = [] if problems else [found.path for found in listing.files if _is_known(found, catalog)]
    kept = {path: catalog.read[path] for path in known}
    read = read_all((found for found in listing.files if found.path not in kept), defaults)
    calendars = calendars_of(settings)
    calendars.keep(catalog.calendars)
    return assemble(listing, {**kept, **read}, calendars)


def _is_known(found: Found, catalog: Catalog) -> bool:
    return found.data is None and matches(catalog.read.get(found.path), found)
