"""Messages of the library, as the command line says them."""

import pytest
import typer.main

from zoo.cli.app import app
from zoo.cli.flags import in_flags

VERBS = typer.main.get_command(app).commands
SAID = [
    ("convert", "exists already; choose another, or pass overwrite=True", "or pass --force"),
    ("convert", "allow_nonfinite=True lets them pass:", "--allow-nonfinite lets them pass:"),
    ("convert", "a draft of names= with which all fit", "a draft of --names with which all fit"),
    ("convert", "key= chooses among the mappings", "--key chooses among the mappings"),
    ("convert", "leave dtype= out.", "leave --dtype out."),
    ("convert", r"pass ignore=(r'a\.b', ...)", r"pass --ignore 'a\.b' ..."),
    ("finetune", "num_classes=37 was expected", "--num-classes 37 was expected"),
    (
        "convert",
        "not said; converters.Transpose changes it, converters.Keep confirms it",
        "in the file of --names a rule Transpose changes it, Keep confirms it",
    ),
    ("export", "exact only with like=", "exact only with --like"),
    ("verify", "is a module of your own; pass it as module=.", "pass it as --module."),
    (
        "eval",
        "is a module of your own; pass it as module=.",
        "this verb takes none, `zoo predict --module` does.",
    ),
    ("publish", "pass create=True.", "pass --create."),
    ("publish", "it is public; pass private=False", "it is public; pass --public"),
    (
        "publish",
        "log in with `hf auth login`, or pass token=",
        "log in with `hf auth login`, or set HF_TOKEN",
    ),
    ("generate", "top_k=0; expected 1 or more, or None.", "--top-k 0; expected 1 or more."),
    ("generate", "max_new_tokens=0 adds nothing", "--tokens 0 adds nothing"),
    ("info", "; zoo.list_models() names the 109 there are.", "; `zoo list` names the 109 there are."),
    ("info", "what began it goes on with resume=True.", "goes on with --resume."),
    ("predict", "no weights; use pretrained=False.", "no weights; `zoo list` shows which models have some."),
]


@pytest.mark.parametrize(("verb", "message", "translated"), SAID, ids=[each[1] for each in SAID])
def test_keywords_are_flags_of_the_running_verb(verb, message, translated):
    assert in_flags(message, VERBS[verb].params).endswith(translated)


@pytest.mark.parametrize(
    "message",
    [
        "'names=draft.toml': No such file",
        "`convert(path, names=draft)` does it",
        "leave train=True out",
        "the layers' scan=True needs a block",
    ],
)
def test_what_is_quoted_or_no_flag_stays(message):
    assert in_flags(message, VERBS["convert"].params) == message


def test_a_closing_apostrophe_is_no_quotation():
    said = "the model's names differ; pass names= with the user's"
    assert "pass --names with" in in_flags(said, VERBS["convert"].params)
