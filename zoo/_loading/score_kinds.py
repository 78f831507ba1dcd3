"""Which scores a classifier's logits stand for, as its config.json says."""

from collections.abc import Mapping
from typing import Any

from zoo._errors import ManifestError
from zoo._loading.sentence_transformers import ACTIVATIONS, CONFIG, MODULES, Read, parsed

# `problem_type` of transformers -> Entry.scores
PROBLEMS: Mapping[str | None, str | None] = {
    "regression": "identity",
    "multi_label_classification": "sigmoid",
    "single_label_classification": None,
    None: None,
}


def score_kind(name: str, config: Mapping[str, Any], read: Read, classes: int) -> str | None:
    """Returns the value of `Entry.scores`; None for the default.

    A cross-encoder of sentence-transformers names the activation of its score. With several classes, its
    identity is what was chosen by nobody.

    Raises:
        ManifestError: a problem type or an activation that the zoo does not have.
    """
    problem = config.get("problem_type")
    if problem not in PROBLEMS:
        known = ", ".join(filter(None, PROBLEMS))
        raise ManifestError(f"{name!r} has problem_type {problem!r}; the zoo has {known}.")
    named = _activation(name, config, read)
    if named is None or PROBLEMS.get(problem) is not None:
        return PROBLEMS.get(problem)
    kind = ACTIVATIONS.get(named.rpartition(".")[2])
    if kind not in ("identity", "sigmoid", "tanh", "softmax"):
        raise ManifestError(
            f"{name!r} gives its scores by {named}; the zoo has Identity, Sigmoid, Tanh and Softmax."
        )
    return None if kind == "identity" and classes > 1 else kind


def _activation(name: str, config: Mapping[str, Any], read: Read) -> str | None:
    """Returns the class of torch.nn that a cross-encoder names, from where its version keeps it."""
    own = config.get("sentence_transformers")
    named = config.get("sbert_ce_default_activation_function")
    named = (own.get("activation_fn") if isinstance(own, Mapping) else None) or named
    if named is None and read(MODULES) is not None:
        content = read(CONFIG)
        options = {} if content is None else parsed(f"{name}: {CONFIG}", content, dict)
        named = options.get("activation_fn")
    return None if named is None else str(named)
