"""Tokenizers from the files that came before tokenizer.json have transformers' ids, whatever the text."""

import base64
import json
from functools import cache

import pytest

import zoo
from tests.reference.published import declare_operators
from zoo._preprocessing.sentencepiece import read_pieces
from zoo._preprocessing.tokenizer_files import tokenizer_from

TEXTS = [
    "",
    " ",
    "Café naïve ÀÉÎ, e\u0301 decomposed, İstanbul ß Σς",
    "日本語 漢字abc漢字 한국어 ไทย العربية",
    "😀 👩\u200d👩\u200d👧 flags 🇩🇪 ½ ﬁ ™",
    "ctrl\x00\x01\x7f\ufffdend\u200bzero \u00a0nbsp\u3000wide",
    "tab\tnew\nline\r\nend\u2028sep   spaces ",
    "[MASK] [CLS] <mask> </s> <|endoftext|> [UNK] the cat<mask>sat [MASK]cat",
    "don't I'm we'll 123,456.78 $5!? -- __ ##ing ▁a [NEW] quik quikly",
    "a" * 150 + " b",
]
CORPUS = ["The quick brown cat sat on the mat.", "Stock markets fell by three percent, café."] * 9
# 64 pieces that the library sentencepiece found in a few sentences; normalization "identity".
SENTENCEPIECE = base64.b64decode(
    "Cg4KBTx1bms+FQAAAAAYAgoMCgM8cz4VAAAAABgDCg0KBDwvcz4VAAAAABgDCgoKA+KWgRXFZQ3ACggKAWUV3CAawAoICgFz"
    "Faf8OMAKCAoBdBXbNErACggKAXIV3nVLwAoMCgXiloF0aBVnxlbACggKAS4VSgtdwAoICgFjFUwLXcAKCAoBbhXlK2jACggK"
    "AWwVUbBowAoICgFpFVoqbMAKCAoBaxUSgG/ACggKAXkVEoBvwAoICgFhFf92dMAKCAoBdRWKD3fACggKAW8VgTR5wAoICgFt"
    "FfJYhMAKCAoBZxUCxYTACggKAXAVBMWEwAoMCgXiloFUaBX7/oTACgwKBeKWgW1hFWRshcAKCwoE4paBYhVXloXACg0KBuKW"
    "gXRoaRUj34bACgoKA3ZlchU4VInACgkKAnRvFadiicAKCwoE4paBbBVxrorACggKAWoVtc+RwAoJCgJ3bxW1ZJLACgwKBeKW"
    "gWZvFTq0ksAKDAoF4paBZmkV8b2SwAoMCgXiloFvbhUgwZLACgoKA292ZRWBwpTACgsKBOKWgWQV9eOUwAoICgFkFVpil8AK"
    "CAoBdxWZUprACgsKBOKWgWYVw5WawAoICgF4FaLSmsAKCQoCZXIVQwKbwAoICgEhFYwVm8AKCAoBQRWMFZvACggKAUkVjBWb"
    "wAoICgFTFYwVm8AKCAoBehWMFZvACggKAXEVkBWbwAoMCgXiloFzaRVAsJvACgkKAmF0FejmncAKCQoCdmUVuIKnwAoJCgLD"
    "qRV9MajACgsKBOKWgW8VpkOuwAoICgFiFfItusAKCAoBZhUc9rrACggKAXYV5qG7wAoJCgLDrxVqx77ACggKAUMVbse+wAoJ"
    "CgLDoBVux77ACgkKAsO8FW7HvsAKCgoD5pelFW7HvsAKCgoD5pysFW7HvsAKCgoD6KqeFW7HvsAKCAoBVBUox7/ACggKAWgV"
    "+se/wBJFCh4vdG1wL3RyaWFsX3RleHRfOTlud3VpMDQvYy50eHQSGi90bXAvdHJpYWxfdGV4dF85OW53dWkwNC9tGAEgQFUA"
    "AIA/GgwKCGlkZW50aXR5EgA="
)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    from tokenizers import BertWordPieceTokenizer

    made = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    made.train_from_iterator([*CORPUS, *TEXTS[:-2]], vocab_size=250, show_progress=False)
    path = tmp_path_factory.mktemp("words")
    made.save_model(str(path))
    return (path / "vocab.txt").read_bytes()


@cache
def pairs(end: str) -> dict[str, bytes]:
    from tokenizers import ByteLevelBPETokenizer

    special = [end] if end == "<|endoftext|>" else ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(CORPUS, vocab_size=330, special_tokens=special, show_progress=False)
    model = json.loads(made.to_str())["model"]
    merges = "\n".join(["#version: 0.2", *(" ".join(each) for each in model["merges"])]) + "\n"
    return {"vocab.json": json.dumps(model["vocab"]).encode(), "merges.txt": merges.encode()}


def clip_pairs() -> dict[str, bytes]:
    """A vocab.json and merges.txt in CLIP's layout."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\s+"), "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    ends = ["<|startoftext|>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    model = json.loads(made.to_str())["model"]
    letters = [*sorted(alphabet), *(f"{each}</w>" for each in sorted(alphabet))]
    merged = ["".join(each) for each in model["merges"]]
    names = dict.fromkeys([*letters, *merged, *ends])
    merges = "\n".join(["#version: 0.2", *(" ".join(each) for each in model["merges"])]) + "\n"
    ids = {name: index for index, name in enumerate(names)}
    return {"vocab.json": json.dumps(ids).encode(), "merges.txt": merges.encode()}


def compared(directory, model_type: str, files: dict, **options) -> None:
    """Compares all ids and types, of single texts and pairs, with transformers' class."""
    declare_operators()
    import transformers

    contents = {"config.json": {"model_type": model_type}, "tokenizer_config.json": options, **files}
    for name, content in contents.items():
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (directory / name).write_bytes(raw)
    theirs = transformers.AutoTokenizer.from_pretrained(str(directory))
    ours = tokenizer_from("it", {path.name: path.read_bytes() for path in directory.iterdir()}.get)
    for text in TEXTS:
        assert ours.encode(text).ids == theirs(text)["input_ids"], text
        both = theirs(text, "a cat")
        assert ours.encode(text, "a cat").ids == both["input_ids"], text
        assert both.get("token_type_ids", ours.encode(text, "a cat").type_ids) == (
            ours.encode(text, "a cat").type_ids
        )


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_lower_case": False},
        {"strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
    ],
    ids=str,
)
def test_vocab_txt(tmp_path, words, model_type, options):
    compared(tmp_path, model_type, {"vocab.txt": words}, **options)


def test_tokens_that_were_added(tmp_path, words):
    count = words.count(b"\n")
    files = {
        "added_tokens.json": {"[NEW]": count, "quik": count + 1},
        "special_tokens_map.json": {"cls_token": "[CLS]", "additional_special_tokens": ["[NEW]"]},
    }
    compared(tmp_path, "bert", {"vocab.txt": words, **files})
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[NEW]": count + 7}))
    with pytest.raises(zoo.ZooError, match=rf"'\[NEW\]' has id {count + 7} by its file, and {count} here"):
        tokenizer_from("it", {path.name: path.read_bytes() for path in tmp_path.iterdir()}.get)


@pytest.mark.parametrize("spaced", [False, True])
def test_vocab_json_and_merges_txt_of_gpt2(tmp_path, spaced):
    compared(tmp_path, "gpt2", pairs("<|endoftext|>"), add_prefix_space=spaced)


def test_vocab_json_and_merges_txt_of_roberta(tmp_path):
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False}
    compared(
        tmp_path, "roberta", pairs("</s>"), mask_token={**mask, "normalized": False, "single_word": False}
    )


@pytest.mark.parametrize("options", [{}, {"pad_token": "!"}], ids=str)
def test_vocab_json_and_merges_txt_of_clip(tmp_path, options):
    compared(tmp_path, "clip", clip_pairs(), **options)


@pytest.mark.parametrize(
    ("model_type", "expected"),
    [
        (
            "xlm-roberta",
            [
                [0, 4, 43, 4, 11, 49, 48, 7, 6, 34, 9, 5, 24, 7, 10, 65, 4, 3, 12, 15, 12, 19, 38, 12, 2],
                [0, 2],
                [0, 4, 17, 4, 11, 49, 2, 2, 9, 5, 33, 13, 20, 2],
            ],
        ),
        (
            "camembert",
            [
                [5, 7, 46, 7, 14, 52, 51, 10, 9, 37, 12, 8, 27, 10, 13, 68, 7, 3, 15, 18, 15, 22, 41, 15, 6],
                [5, 6],
                [5, 7, 20, 7, 14, 52, 6, 6, 12, 8, 36, 16, 23, 6],
            ],
        ),
    ],
)
def test_sentencepiece(model_type, expected):
    """The ids are those of transformers' class and the library sentencepiece, which is none of the tests'."""
    files = {
        "sentencepiece.bpe.model": SENTENCEPIECE,
        "config.json": json.dumps({"model_type": model_type}).encode(),
    }
    made = tokenizer_from("it", files.get)
    assert [made.encode(text).ids for text in ("A cat sits on the mat.<mask> Ünknown", "")] == expected[:2]
    assert made.encode("a cat", "the film").ids == expected[2]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b"\xff" * 40, lambda b: b"\x0f", lambda b: b""]
)
def test_a_damaged_model_of_sentencepiece_is_refused(damage):
    with pytest.raises(zoo.ZooError, match="SentencePiece model"):
        read_pieces(damage(SENTENCEPIECE))


def test_models_of_sentencepiece_of_other_families_are_refused_with_the_command():
    files = {"spiece.model": SENTENCEPIECE}
    with pytest.raises(
        zoo.ZooError, match=r"has its tokens in spiece\.model.*AutoTokenizer\.from_pretrained"
    ):
        tokenizer_from("it", files.get)
