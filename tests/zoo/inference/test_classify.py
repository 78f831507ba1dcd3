"""Labels for pictures, compared with transformers' pipeline: files, tokens, preprocessing and scores."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import zoo
from tests.equivalence import randomise
from tests.reference import pair_models, published
from tests.zoo.preprocessing.test_tokenizer_files import clip_pairs
from zoo._inference.scores import SCORES
from zoo.cli.app import app

RNG = np.random.default_rng(0)
LABELS = ["a cat", "two dogs", "the quick brown fox, it's 12 years old"]


def run(*arguments, code=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    for index, size in enumerate(((40, 61), (57, 33))):
        Image.fromarray(RNG.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{index}.png")
    return [str(folder / f"{index}.png") for index in range(2)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A directory with vocab.json and merges.txt, as old ones have, and the pipeline of it."""
    files = clip_pairs()
    ids = json.loads(files["vocab.json"])
    text = {"vocab_size": len(ids), "max_position_embeddings": 48, "eos_token_id": ids["<|endoftext|>"]}
    made = tmp_path_factory.mktemp("clip")
    twin = randomise(pair_models.published_class("CLIPModel", text_config=text)).float().eval()
    twin.logit_scale.data.fill_(np.log(100))
    twin.save_pretrained(made)
    for name, content in files.items():
        (made / name).write_bytes(content)
    processor = published.processor("CLIPImageProcessorPil", size={"shortest_edge": 32}, crop_size=32)
    processor.save_pretrained(made)
    return made, pair_models.pipeline(twin, made, processor)


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    """A directory with tokenizer.json, whose texts are padded to the longest length, and the pipeline."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors

    made = tmp_path_factory.mktemp("siglip")
    words = {word: index for index, word in enumerate(["<pad>", "</s>", "<unk>", *" ".join(LABELS).split()])}
    words = {word: index for index, word in enumerate(words)}
    tokens = tokenizers.Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokens.save(str(made / "tokenizer.json"))
    options = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids"]}
    special = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (made / "tokenizer_config.json").write_text(json.dumps({**options, **special}))
    text = {"vocab_size": len(words), "max_position_embeddings": 64, "projection_size": 24}
    twin = randomise(pair_models.published_class("SiglipModel", text_config=text)).float().eval()
    twin.logit_scale.data.fill_(np.log(100))
    twin.save_pretrained(made)
    processor = published.processor("SiglipImageProcessorPil", size={"height": 32, "width": 32})
    processor.save_pretrained(made)
    return made, pair_models.pipeline(twin, made, processor)


@pytest.mark.parametrize(("kind", "options"), [("clip", {}), ("siglip", {"template": "a photo of {}"})])
def test_probabilities_are_those_of_the_pipeline(kind, options, pictures, request):
    directory, pipeline = request.getfixturevalue(kind)
    found = zoo.classify(directory, pictures, LABELS, **options)
    theirs = {"hypothesis_template": options["template"]} if options else {}
    expected = pipeline([Image.open(each) for each in pictures], candidate_labels=LABELS, **theirs)
    for best, them in zip(found, expected, strict=True):
        scores = {each["label"]: each["score"] for each in them}
        print(kind, best, max(abs(score - scores[label]) for label, score in best))
        # Products of float32 vectors times 100.
        assert all(abs(score - scores[label]) < 1e-5 for label, score in best)
        assert [score for _, score in best] == sorted((score for _, score in best), reverse=True)
    totals = np.array([sum(score for _, score in best) for best in found])
    assert (np.abs(totals - 1) < 1e-9).all() == (kind == "clip")


def test_a_model_and_its_name_give_the_same_and_top_and_batches_change_nothing(clip, pictures):
    directory, _ = clip
    every = zoo.classify(directory, pictures, LABELS)
    model = zoo.load(directory, pretrained=True)
    assert zoo.classify(model, [np.asarray(Image.open(each)) for each in pictures], iter(LABELS)) == every
    few = zoo.classify(model, pictures, LABELS, top=2, batch_size=1)
    for best, all_of_them in zip(few, every, strict=True):
        assert [label for label, _ in best] == [label for label, _ in all_of_them[:2]]
        np.testing.assert_allclose([each for _, each in best], [each for _, each in all_of_them[:2]], 1e-6)
    assert zoo.classify(model, pictures[1], LABELS[:1]) == [[(LABELS[0], 1.0)]]


REFUSED = {
    "no labels": ({"labels": []}, "labels= is empty"),
    "one text": ({"labels": "a cat"}, r"labels='a cat' is one text; expected several"),
    "no text": ({"labels": ["a cat", " "]}, "labels= has ' ', which is no text"),
    "twice": ({"labels": ["a cat", "a dog", "a cat"]}, "labels= has 'a cat' twice"),
    "no place": ({"template": "a photo"}, r"template='a photo' has no \{\} for the label"),
    "too long": ({"labels": ["a cat " * 30]}, r"has \d+ tokens; .* takes at most 48: shorten it"),
    "top": ({"top": 0}, "top=0; expected 1 or more"),
    "no picture": ({"images": "missing.png"}, r"missing\.png': No such"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_classified_is_refused(options, message, clip, pictures):
    given = {"images": pictures, "labels": LABELS, **options}
    with pytest.raises(zoo.ZooError, match=message):
        zoo.classify(clip[0], given.pop("images"), given.pop("labels"), **given)


def test_a_model_without_texts_names_what_it_is_for(clip, pictures):
    with pytest.raises(zoo.ZooError, match=r"'cnn_mnist' does not compare .*; it classifies pictures: zoo.p"):
        zoo.classify("cnn_mnist", pictures, LABELS)
    images = zoo.load(clip[0], head="image", pretrained=True)
    with pytest.raises(zoo.ZooError, match=r"does not compare .* it makes vectors of pictures"):
        zoo.classify(images, pictures, LABELS)
    with pytest.raises(zoo.ZooError, match="does not classify pictures; it makes vectors of pictures"):
        zoo.predict(images, pictures)


def test_vectors_of_texts_and_pictures_are_those_that_are_compared(clip, siglip, pictures):
    for directory, _ in (clip, siglip):
        model = zoo.load(directory, pretrained=True)
        texts, both = zoo.embed(model, LABELS), zoo.embed(model, pictures)
        assert (texts.shape, both.shape) == ((3, model.module.embedding_size), (2, texts.shape[1]))
        scale, bias = model(method="temperature")
        logits = np.float64(scale) * (both @ texts.T) + np.float64(bias)
        found = zoo.classify(model, pictures, LABELS, template="{}")
        expected = SCORES[model.module.scores](logits)
        for best, row in zip(found, expected, strict=True):
            np.testing.assert_allclose([dict(best)[label] for label in LABELS], row, rtol=1e-4)
        np.testing.assert_allclose(zoo.embed(model, Image.open(pictures[1])), both[1:], atol=1e-6)
        assert zoo.embed(model, []).shape == (0, texts.shape[1])
    assert zoo.embed(clip[0], "a cat " * 99).shape == (1, 12)  # cut
    alone = zoo.load(clip[0], head="text", pretrained=True)
    np.testing.assert_allclose(zoo.embed(alone, LABELS), zoo.embed(clip[0], LABELS), atol=1e-6)
    done = run("embed", clip[0], *pictures)
    np.testing.assert_allclose(json.loads(done.stdout), zoo.embed(clip[0], pictures), atol=1e-6)


def test_the_verb_prints_each_pictures_labels_and_names_what_it_cannot_read(clip, pictures, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    options = ("--labels", "a cat, two dogs", "--template", "a photo of {}", "--json")
    done = run("classify", clip[0], *pictures, tmp_path / "bad.png", *options, code=1)
    found = zoo.classify(clip[0], pictures, ["a cat", "two dogs"], template="a photo of {}")
    assert json.loads(done.stdout) == [
        {"input": picture, "label": label, "probability": pytest.approx(score, rel=1e-5)}
        for picture, best in zip(pictures, found, strict=True)
        for label, score in best
    ]
    assert "bad.png" in done.stderr


def test_the_verb_refuses_in_its_own_words(clip, pictures):
    assert "--labels is empty" in run("classify", clip[0], pictures[0], code=1).stderr
    assert "`zoo predict`" in run("classify", "cnn_mnist", pictures[0], code=1).stderr
