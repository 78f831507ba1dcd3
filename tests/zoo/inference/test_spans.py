"""Named entities and answers, beside transformers: its pipeline, and its model with a plain search."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from typer.testing import CliRunner

import zoo
from tests.equivalence import randomise
from tests.reference.published import declare_operators
from zoo.cli.app import app

RNG = np.random.default_rng(0)
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdef.", *(f"##{each}" for each in "abcdef")]
WORDS = ["".join(RNG.choice([*"abcdef"], size)) for size in RNG.integers(1, 5, 20)]
LONG = " ".join(RNG.choice(WORDS, 40))
TEXTS = [
    "Abc  de, (fa). zzz ée",
    "a",
    *(" ".join(RNG.choice([*WORDS, "zz"], size)) for size in (3, 9, 14)),
    LONG,
]
SIZES = {
    "vocab_size": len(PIECES),
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}


def saved(directory, head, **config):
    """Saves a random BERT with a small WordPiece tokenizer, and returns both."""
    declare_operators()
    import transformers

    config = transformers.BertConfig(**SIZES, **config)
    model = randomise(getattr(transformers, f"BertFor{head}")(config)).float().eval()
    if head == "TokenClassification":
        with torch.no_grad():  # no label is likelier than the others
            ids = torch.tensor(RNG.integers(4, len(PIECES), (8, 20)))
            model.classifier.bias -= model(ids).logits.mean((0, 1))
    model.save_pretrained(directory)
    tokenizer = Tokenizer(models.WordPiece({each: at for at, each in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {f"{each}_token": f"[{each.upper()}]" for each in ("pad", "unk", "cls", "sep")}
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=config.max_position_embeddings, **special
    )
    fast.save_pretrained(directory)
    return model, fast


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tagger")
    names = dict(enumerate(LABELS))
    return directory, *saved(directory, "TokenClassification", max_position_embeddings=40, id2label=names)


@pytest.fixture(scope="module")
def answerer(tmp_path_factory):
    directory = tmp_path_factory.mktemp("answerer")
    return directory, *saved(directory, "QuestionAnswering", max_position_embeddings=40)


def run(*arguments, code=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout


def test_entities_are_those_of_the_pipeline(tagger):
    import transformers

    directory, model, tokenizer = tagger
    pipeline = transformers.pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple", device="cpu"
    )
    wanted = pipeline(TEXTS)
    found = zoo.entities(directory, TEXTS)
    assert len({each["entity_group"] for spans in wanted for each in spans}) == 3
    assert any(len(each["word"].split()) > 1 for spans in wanted for each in spans)
    for text, ours, theirs in zip(TEXTS, found, wanted, strict=True):
        keys = ("start", "end", "entity_group")
        assert [(each.start, each.end, each.label) for each in ours] == [
            tuple(each[key] for key in keys) for each in theirs
        ]
        assert [each.text for each in ours] == [text[each.start : each.end] for each in ours]
        scores = [each["score"] for each in theirs]
        np.testing.assert_allclose([each.score for each in ours], scores, rtol=1e-5)
    rows = json.loads(run("entities", directory, TEXTS[0], "--json"))
    assert [tuple(row.values())[1:-1] for row in rows] == [
        (each.start, each.end, each.text, each.label) for each in found[0]
    ]


def best(model, tokenizer, question, context):
    """Returns start, end and score of the best answer, searched for in loops."""
    windows = tokenizer(
        question, context, truncation="only_second", max_length=40, stride=20, return_overflowing_tokens=True
    )
    found = []
    for index, ids in enumerate(windows["input_ids"]):
        encoding = windows.encodings[index]
        with torch.no_grad():
            types = torch.tensor([encoding.type_ids])
            out = model(torch.tensor([ids]), token_type_ids=types)
        places = [place for place, part in enumerate(encoding.sequence_ids) if part == 1]
        first, last = (
            torch.exp(each[0].double()) / torch.exp(each[0].double()[[0, *places]]).sum()
            for each in (out.start_logits, out.end_logits)
        )
        for start in places:
            for end in range(start, min(start + 15, places[-1] + 1)):
                begin = encoding.word_to_chars(encoding.token_to_word(start), 1)[0]
                stop = encoding.word_to_chars(encoding.token_to_word(end), 1)[1]
                found.append((float(first[start] * last[end]), begin, stop))
    return max(found), len(windows["input_ids"])


def test_answers_are_the_best_spans_of_any_window(answerer):
    directory, model, tokenizer = answerer
    questions = ["abc de?", "fa", "b c dd e"]
    for context, several in ((TEXTS[3], False), (LONG, True)):
        found = zoo.answer(directory, questions, context)
        for question, ours in zip(questions, found, strict=True):
            (score, start, end), windows = best(model, tokenizer, question, context)
            assert (windows > 1) == several
            assert ours == (context[start:end], start, end, pytest.approx(score, rel=1e-5))


def test_answers_on_the_command_line_are_those_of_a_file(answerer, tmp_path):
    directory, file = answerer[0], tmp_path / "context.txt"
    file.write_bytes(f"{TEXTS[2]}\r\n{TEXTS[3]}".encode())
    (expected,) = zoo.answer(directory, "abc de?", file.read_bytes().decode())
    (row,) = json.loads(run("answer", directory, "abc de?", "--context", file, "--json"))
    assert row["question"] == "abc de?"
    assert tuple(row.values())[1:-1] == (expected.start, expected.end, expected.text)
    assert "give --context" in run("answer", directory, "abc de?", code=2)
    file.write_bytes(b"caf\xe9")
    assert "is no text in UTF-8" in run("answer", directory, "abc de?", "--context", file, code=1)


def test_what_finds_no_spans_is_refused(tagger, answerer):
    for directory, *_ in (tagger, answerer):
        with pytest.raises(zoo.ZooError, match=r"does not classify texts; it .*: zoo\.(entities|answer)"):
            zoo.predict(directory, "a")
    with pytest.raises(zoo.ZooError, match=r"does not label spans of texts; it finds answers.*zoo\.answer"):
        zoo.entities(answerer[0], "a")
    assert "does not find answers; it labels spans of texts: `zoo entities`" in run(
        "answer", tagger[0], "a", "--context", answerer[0] / "config.json", code=1
    )
    with pytest.raises(
        zoo.ZooError, match="a question has 30 tokens, which leaves room for 7 of the context"
    ):
        zoo.answer(answerer[0], "a " * 30, "b")
    with pytest.raises(zoo.ZooError, match=r"context=' ' is no text with words"):
        zoo.answer(answerer[0], "a", " ")
    assert zoo.entities(tagger[0], []) == zoo.answer(answerer[0], [], "a") == []
