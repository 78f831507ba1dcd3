"""Kinds of a classifier's scores, as config.json says them."""

import json

import pytest

import zoo
from zoo._loading.score_kinds import score_kind

MODULES = {
    "modules.json": [{"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}]
}


def kind(config: dict, classes: int, files: dict | None = None) -> str | None:
    found = {name: json.dumps(content).encode() for name, content in (files or {}).items()}
    return score_kind("it", config, found.get, classes)


@pytest.mark.parametrize(
    ("config", "classes", "expected"),
    [
        ({}, 3, None),
        ({"problem_type": None}, 1, None),
        ({"problem_type": "single_label_classification"}, 2, None),
        ({"problem_type": "multi_label_classification"}, 3, "sigmoid"),
        ({"problem_type": "regression"}, 2, "identity"),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, 1, "identity"),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"}, 1, "sigmoid"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}, 1, "sigmoid"),
        # With several classes, it is what nobody chose.
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, 3, None),
    ],
)
def test_it_says_which_scores_logits_stand_for(config, classes, expected):
    assert kind(config, classes) == expected


def test_newer_cross_encoders_say_it_in_a_file_of_their_own():
    own = {"config_sentence_transformers.json": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}
    assert kind({}, 1, MODULES | own) == "sigmoid"
    assert kind({}, 1, own) is None  # nothing says that it is of sentence-transformers


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"problem_type": "ranking"}, "problem_type 'ranking'; the zoo has regression, multi_label"),
        ({"sbert_ce_default_activation_function": "mine.Act"}, r"gives its scores by mine\.Act; the zoo has"),
    ],
)
def test_other_scores_are_refused(config, message):
    with pytest.raises(zoo.ManifestError, match=message):
        kind(config, 1)
