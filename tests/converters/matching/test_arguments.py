"""Arguments that say how names and tensors differ, and those that say nothing."""

import flax.linen as nn
import numpy as np
import pytest

import converters
import zoo

X = np.zeros((1, 2), np.float32)
TENSORS = {"weight": np.zeros((3, 2)), "bias": np.zeros(3), "more": np.zeros(1)}
WRONG = {
    "names= is a dict; expected pairs in their order, such as": {"names": {"a": "b"}},
    "names= is 'a'; expected a list": {"names": "a"},
    r"names= has \('a',\); expected pairs": {"names": [("a",)]},
    r"names= has \['a', 'b'\]; expected pairs": {"names": [["a", "b"]]},
    "names= has <class 'converters.matching.rules.Keep'>; expected pairs": {"names": [converters.Keep]},
    r"rules= has \('a', 'b'\); expected rules, .*: pairs go in names=": {"rules": [("a", "b")]},
    "rules= is 3; expected a list": {"rules": 3},
    r"ignore= has '\(', no regular expression: missing \)": {"ignore": ["("]},
    "ignore= has 3, no regular expression": {"ignore": [3]},
    r"missing= has '\(', no regular expression": {"missing": "("},
    "missing= is 3; expected a list": {"missing": 3},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_names_rules_and_patterns_are_told_in_a_sentence(message):
    with pytest.raises(converters.ConversionError, match=message):
        converters.convert(TENSORS, nn.Dense(3), X, **WRONG[message])


def test_a_pattern_alone_is_a_list_of_one():
    given = converters.convert(TENSORS, nn.Dense(3), X, ignore="more")
    listed = converters.convert(TENSORS, nn.Dense(3), X, ignore=["more"])
    assert given["params"].keys() == listed["params"].keys()
    assert not given["params"]["kernel"].any()


def test_what_is_no_module_and_what_is_no_input_is_told():
    model = zoo.Model(nn.Dense(3), {})
    with pytest.raises(converters.ConversionError, match=r"found the class Dense: call it$"):
        converters.convert(TENSORS, nn.Dense, X)
    with pytest.raises(
        converters.ConversionError, match=r"module, found Model: pass its attribute `module`$"
    ):
        converters.convert(TENSORS, model, X)
    with pytest.raises(converters.ConversionError, match=r"flax\.nnx module, found dict$"):
        converters.to_torch(nn.Dense(3), {}, X)
    with pytest.raises(converters.ConversionError, match=r"input 1 has texts in it, .*: names=, ignore="):
        converters.convert(TENSORS, nn.Dense(3), X, [("a", "b")])
    for wrong in (3, TENSORS):
        with pytest.raises(converters.CheckpointError, match=r"found (int|dict), expected the path"):
            converters.read_checkpoint(wrong)
        with pytest.raises(zoo.ZooError, match=r"found (int|dict), expected the path of a checkpoint, a fol"):
            zoo.convert(wrong)
