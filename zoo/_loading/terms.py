"""Terms of a license that a user has to know."""

import logging
import re

from zoo._registry.entry import Entry

_log = logging.getLogger("zoo")
# Licenses that forbid commercial use, by SPDX's names and, where it has none, by those of the Hub.
NON_COMMERCIAL = re.compile(r"cc-by-nc-.*|.*non-?commercial.*|apple-amlr|seer-license", re.IGNORECASE)


def log_terms(entry: Entry, *, aloud: bool) -> tuple[str, ...]:
    """Says that weights are for non-commercial use only, if they are: as a note, and aloud in the log."""
    if not NON_COMMERCIAL.fullmatch(entry.license or ""):
        return ()
    note = f"the license of the weights, {entry.license}, forbids commercial use"
    _log.log(logging.WARNING if aloud else logging.INFO, "%s: %s", entry.name, note)
    return (note,)
