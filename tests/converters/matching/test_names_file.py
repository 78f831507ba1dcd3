"""Names and rules written to a file and read back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import (
    CheckpointError,
    ConversionError,
    Fuse,
    Split,
    Unflatten,
    read_names,
    write_checkpoint,
    write_names,
)

NAMES = (
    (r"^layers\.(\d+)\.", r"net.\1."),
    ("it's", 'a "quoted" name'),
    Fuse("*.qkv.*", ("*.q.*", "*.k.*"), axis=1),
    Split("t.weight", ("a.weight", "b.weight"), sizes=(3, 4)),
    Unflatten("fc.weight", (64, 7, 7)),
)
BAD = {
    "foo = 1": "foo: unknown",
    "": "neither names nor rules",
    "names = 3": "names: expected a list",
    "names = [['(', 'x']]": "names[0]: ['(', 'x']: missing )",
    "names = [['a']]": "names[0]: expected [regular expression, replacement], found ['a']",
    "names = [['a', 1]]": "names[0]: expected",
    r"names = [['a', '\3']]": "invalid group reference 3",
    r"names = [['a', '\g<q>']]": "unknown group name 'q'",
    "names = []\nnames = []": "not TOML",
    "[[rules]]\nrule = 'Fuze'": "rules[0]: expected rule = one of Fuse, Split, Unflatten",
    "[[rules]]\nrule = 'Fuse'\ntensor = 'a'": "rules[0].parts: missing",
    "[[rules]]\nrule = 'Fuse'\ntensor = 'a'\nparts = 'b'": "rules[0].parts: expected a list of texts",
    "[[rules]]\nrule = 'Split'\ntensor = 'a'\nparts = ['b']\naxis = true": "rules[0].axis: expected a whole",
    "[[rules]]\nrule = 'Split'\ntensor = 'a'\nparts = ['b']\nbar = 1": "rules[0].bar: Split has tensor",
    "rules = [1]": "rules[0]: expected",
    "a = " + "[" * 5000: "not TOML",
    "# " + "x" * 1_000_000: "more than 1,000,000 bytes",
}


def test_names_and_rules_come_back_from_a_file(tmp_path):
    write_names(tmp_path / "names.toml", NAMES)
    assert read_names(tmp_path / "names.toml") == NAMES


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_replacement_comes_back(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("names") / "names.toml"
    pair = ("x", text.replace("\\", ""))
    write_names(path, (pair,))
    assert read_names(path) == (pair,)


@pytest.mark.parametrize(("text", "problem"), BAD.items())
def test_a_file_that_is_no_names_file_is_refused(tmp_path, text, problem):
    path = tmp_path / "names.toml"
    path.write_text(text)
    with pytest.raises(ConversionError) as caught:
        read_names(path)
    assert problem in str(caught.value)


def test_all_problems_of_a_file_are_named_at_once(tmp_path):
    path = tmp_path / "names.toml"
    path.write_text("bar = 1\nnames = [['('], 3]\n[[rules]]\nrule = 'Fuse'\naxis = 'x'")
    with pytest.raises(ConversionError) as caught:
        read_names(path)
    assert len(str(caught.value).splitlines()) == 7


def test_an_existing_file_is_not_overwritten(tmp_path):
    write_names(tmp_path / "names.toml", NAMES)
    with pytest.raises(CheckpointError, match="exists already"):
        write_names(tmp_path / "names.toml", NAMES[:1])
    write_names(tmp_path / "names.toml", NAMES[:1], overwrite=True)
    assert read_names(tmp_path / "names.toml") == NAMES[:1]


def test_a_rule_of_ones_own_is_no_text(tmp_path):
    class Mine:
        pass

    with pytest.raises(ConversionError, match="Fuse, Split, Unflatten"):
        write_names(tmp_path / "names.toml", (Mine(),))
    assert list(tmp_path.iterdir()) == []


def test_arguments_in_another_order_are_told(tmp_path):
    with pytest.raises(ConversionError, match=r"write_names\(path, names\) .* found tuple, then"):
        write_names(NAMES, tmp_path / "names.toml")
    with pytest.raises(ConversionError, match=r"write_checkpoint\(state_dict, path\) .* found str"):
        write_checkpoint("a.pth", {})
    assert list(tmp_path.iterdir()) == []
