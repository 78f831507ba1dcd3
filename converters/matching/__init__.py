"""Matches tensors of a state dict to arrays of a module, by names, rules and shapes."""

from converters.matching.arguments import as_patterns
from converters.matching.arrays import contiguous, dtype_kind, nonfinite
from converters.matching.conversion import Conversion
from converters.matching.draft import written
from converters.matching.fit import Fit, doubts, fit_links
from converters.matching.links import Link
from converters.matching.names_file import to_toml
from converters.matching.rules import Fuse, Rule, Split, Unflatten
from converters.matching.search import (
    NamesAndRules,
    best_fit,
    conversion_error,
    fewest_problems,
    links_after_rules,
)

__all__ = [
    "Conversion",
    "Fit",
    "Fuse",
    "Link",
    "NamesAndRules",
    "Rule",
    "Split",
    "Unflatten",
    "as_patterns",
    "best_fit",
    "contiguous",
    "conversion_error",
    "doubts",
    "dtype_kind",
    "fewest_problems",
    "fit_links",
    "links_after_rules",
    "nonfinite",
    "to_toml",
    "written",
]
