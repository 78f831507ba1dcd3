"""License, metrics and paper from the cards of repositories."""

import pytest

from zoo._publishing.card_facts import read_card

RESULT = """model-index:
- name: net
  results:
  - dataset: {{type: {dataset}, split: {split}}}
    metrics: [{metrics}]
"""


def card(header: str, text: str = "# Net\n") -> bytes:
    return f"---\n{header}\n---\n{text}".encode()


LICENSES = {
    "license: apache-2.0": "Apache-2.0",
    "license: MIT": "MIT",
    "license: [bsd-3-clause]": "BSD-3-Clause",
    "license: openrail": "openrail",
    "license: other\nlicense_name: mine": "mine",
    "license: other": None,
    "license: unknown": None,
    "license: [mit, apache-2.0]": None,
    "license: 3": None,
    "tags: [a]": None,
    "- a\n- b": None,
}


@pytest.mark.parametrize(("header", "license_"), LICENSES.items())
def test_the_license_is_spelled_as_spdx_does(header, license_):
    assert read_card(card(header)).license == license_


METRICS = {
    ("ILSVRC/imagenet-1k", "validation", "{type: accuracy, value: 0.75}"): {"imagenet1k_val_accuracy": 0.75},
    ("imagenet-1k", "test", "{type: Top-1 Accuracy, value: 75}"): {"imagenet1k_test_top_1_accuracy": 75.0},
    ("nyu-mll/glue", "null", "{type: f1, value: 0.5}, {type: f1, value: 0.5}"): {"glue_f1": 0.5},
    ("a/b", "test", "{type: f1, value: 0.5}, {type: f1, value: 0.6}"): {},
    ("a/b", "test", "{type: f1, value: best}, {type: f2, value: true}, {value: .nan}"): {},
    ("1/2", "test", "{type: f1, value: 1}"): {},
    ("[a]", "{b: c}", "{type: [d], value: [1]}, 3"): {},
}


@pytest.mark.parametrize(("result", "metrics"), METRICS.items(), ids=str)
def test_results_become_metrics_and_what_is_no_number_is_noted(result, metrics):
    dataset, split, listed = result
    found = read_card(card(RESULT.format(dataset=dataset, split=split, metrics=listed)))
    assert found.metrics == metrics
    assert bool(found.notes) is not bool(metrics)


def test_one_paper_is_taken_and_several_are_noted():
    assert read_card(card("tags: ['arxiv:1810.04805']")).paper == "https://arxiv.org/abs/1810.04805"
    found = read_card(b"https://arxiv.org/abs/1810.04805 and https://arxiv.org/pdf/1907.11692v1.pdf")
    assert found.paper is None
    assert "the card links 2 papers" in found.notes[0]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"# Net", b"---\n", b"\xff\xfe", b"---\nlicense: &a mit\n---\n", b"---\na: [\n---\n"),
        *(b"---\n" + b"[" * 9999 + b"\n---\n", b"---\nmodel-index: [{results: 3}]\n---\n"),
    ],
    ids=repr,
)
def test_an_odd_card_states_nothing(content):
    found = read_card(content)
    assert (found.license, found.metrics, found.paper) == (None, {}, None)


def test_a_card_of_windows_is_read():
    assert read_card(b"\xef\xbb\xbf---\r\nlicense:\tmit\r\n---\r\n").license == "MIT"
