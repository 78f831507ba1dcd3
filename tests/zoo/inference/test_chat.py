"""Chats, pieces of a text, strings that end one, and the options of a model's files."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.zoo.loading.test_transformers_config import GPT2, write
from tests.zoo.preprocessing.test_text import add_tokenizer
from zoo._inference.generation_options import new_tokens, settled
from zoo._loading.generation_config import said
from zoo._registry.entry import FrozenMapping
from zoo.cli.app import app

TEMPLATE = (
    "{% for message in messages %}w3 {{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %} w4{% endif %}"
)
MESSAGES = [{"role": "user", "content": "w7 w8"}]
COUNT = {"max_new_tokens": 9}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    twin = randomise(text_models.gpt2()).float()
    made = add_tokenizer(write(tmp_path_factory.mktemp("chat") / "gpt2", GPT2, state_dict(twin)))
    (made / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    return made


@pytest.fixture(scope="module")
def model(directory) -> zoo.Model:
    return zoo.load(directory, pretrained=True)


def test_an_answer_is_what_follows_the_messages(model, directory):
    prompt = zoo.apply_chat_template(directory, MESSAGES, add_generation_prompt=True)
    assert prompt == "w3 w7 w8 w4"
    (whole,) = zoo.generate(model, [prompt], **COUNT)
    answer = zoo.chat(model, MESSAGES, **COUNT)
    assert whole == f"{prompt} {answer}"
    assert "".join(zoo.stream(model, prompt, **COUNT)) == whole
    assert "".join(zoo.stream(model, MESSAGES, **COUNT)) == answer
    other = zoo.chat(model, MESSAGES, chat_template="{{ tone }}", template_variables={"tone": "w9"}, **COUNT)
    assert other == zoo.generate(model, ["w9"], **COUNT)[0].removeprefix("w9 ")
    with pytest.raises(zoo.ZooError, match="a chat has one answer"):
        zoo.chat(model, MESSAGES, num_return_sequences=2, temperature=1.0)


def test_the_command_line_chats_and_has_the_options_as_flags(directory):
    def run(*arguments) -> str:
        done = CliRunner().invoke(app, ["generate", str(directory), *map(str, arguments)])
        assert not done.exit_code, done.output
        return done.stdout

    flags = ("--tokens", 9, "--temperature", 0)
    assert run("--chat", "w7 w8", *flags) == zoo.chat(directory, MESSAGES, **COUNT) + "\n"
    best = run("w5 w6", "--tokens", 9, "--num-beams", 2, "--num-return-sequences", 2, "--length-penalty", 2)
    wanted = zoo.generate(
        directory, ["w5 w6"], num_beams=2, num_return_sequences=2, length_penalty=2.0, **COUNT
    )
    assert best == "\n---\n".join(wanted) + "\n"


def test_a_saved_model_keeps_its_template_and_options(model, tmp_path):
    zoo.save(with_file(model, top_k=3), tmp_path / "saved")
    assert zoo.apply_chat_template(tmp_path / "saved", MESSAGES) == "w3 w7 w8"
    assert zoo.info(tmp_path / "saved").generation == {"top_k": 3}


def test_a_text_ends_behind_a_string(model):
    """Ends in the middle of a longer text, whoever asks: for texts, ids, or pieces."""
    (whole,) = zoo.generate(model, ["w5 w6"], **COUNT)
    words = whole.split()
    place = next(place for place in range(4, len(words)) if words[place] not in words[2:place])
    ended = " ".join(words[: place + 1])
    options = {**COUNT, "stop": ["not there", words[place]]}
    assert zoo.generate(model, ["w5 w6"], **options) == [ended]
    assert "".join(zoo.stream(model, "w5 w6", **options)) == ended
    ids = zoo.generate(model, [[5, 6]], **options)
    assert ids.shape == (1, place + 1)
    both = zoo.generate(model, ["w5 w6", "w9"], **options)
    assert both == [ended, *zoo.generate(model, ["w9"], **options)]
    # A part of a word is enough; the text ends with it.
    assert zoo.generate(model, ["w5 w6"], **COUNT, stop=f" {words[2]}"[:-1])[0] == f"w5 w6 {words[2]}"[:-1]


def with_file(model, **attributes) -> zoo.Model:
    """The model as if its generation_config.json said this."""
    kept = FrozenMapping(said(attributes, own_file=True))
    return replace(model, entry=replace(model.entry, generation=kept))


def test_options_of_the_files_are_defaults(model):
    """Draws, too, of which transformers takes one of the 50 likeliest where the file names no number."""
    made = with_file(
        model,
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        repetition_penalty=1.2,
        max_length=30,
        bos_token_id=1,
        transformers_version="4.40.0",
        output_scores=True,
        use_cache=False,
        encoder_no_repeat_ngram_size=0,
        stop_strings=["w3"],
    )
    found = settled(made, {})
    assert (found["temperature"], found["top_k"], found["top_p"]) == (0.6, 50, 0.9)
    assert (found["repetition_penalty"], found["stop"]) == (1.2, ("w3",))
    assert new_tokens(found, 40, 12) == 18
    chosen = settled(made, {"temperature": 0.0, "top_k": 0, "stop": (), "max_new_tokens": 4})
    assert (chosen["temperature"], chosen["top_k"], chosen["top_p"], chosen["stop"]) == (0.0, 0, 0.9, ())
    assert new_tokens(chosen, 40, 12) == 4
    assert settled(made, {"generation_config": {}})["temperature"] == 0
    plain = settled(with_file(model, temperature=0.6, top_k=20), {})
    assert (plain["temperature"], plain["top_k"]) == (0, 20), "without do_sample, nothing is drawn"
    assert new_tokens(plain, 40, 12) == 28
    assert new_tokens(plain, 400, 12) == 100
    shortest = with_file(model, min_length=20)
    assert settled(shortest, {})["min_length"] == 20
    assert settled(shortest, {"min_new_tokens": 3})["min_length"] == 0, "the caller's takes its place"


@pytest.mark.parametrize(
    ("attributes", "options", "lacked"),
    [
        ({"guidance_scale": 1.5, "sequence_bias": [[[1], 0.5]]}, {}, "guidance_scale=1.5, sequence_bias="),
        ({"do_sample": True, "typical_p": 0.9}, {}, "typical_p=0.9"),
        ({"num_beam_groups": 2}, {"num_beams": 2}, "num_beam_groups=2"),
        ({"a_new_number": 3}, {}, "a_new_number=3"),
    ],
)
def test_what_would_change_a_text_is_refused_by_name(model, attributes, options, lacked):
    made = with_file(model, **attributes)
    with pytest.raises(zoo.ZooError) as raised:
        zoo.generate(made, ["w5"], **options)
    assert lacked in str(raised.value)
    assert "generation_config={}" in str(raised.value)


def test_what_would_change_nothing_is_not(model):
    made = with_file(model, typical_p=0.9, num_beam_groups=2, diversity_penalty=0.5)
    assert settled(made, {})["temperature"] == 0


def test_a_misspelt_option_is_refused(model):
    with pytest.raises(TypeError, match=r"no keyword 'max_new_token'; did you mean 'max_new_tokens'\?"):
        zoo.generate(model, ["w5"], max_new_token=3)
