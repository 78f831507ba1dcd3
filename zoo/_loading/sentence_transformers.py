"""Reads the files of sentence-transformers, which say how states become one vector per text.

modules.json lists the steps, each with a folder of its own: a transformer, pooling, dense layers, and scaling
to length 1. Versions 5.4 and later write some of the options under other names.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from converters.checkpoints import read_buffer
from converters.errors import CheckpointError
from converters.io import decode_json
from zoo._errors import ManifestError

Read: TypeAlias = Callable[[str], bytes | None]  # a file's content; None where there is no such file

MODULES = "modules.json"
CONFIG = "config_sentence_transformers.json"
TRANSFORMER_CONFIG = "sentence_bert_config.json"  # of the transformer's step
# Its names in early versions, by the zoo's variant of the architecture.
EARLY_CONFIGS = {
    "roberta": (
        "sentence_roberta_config.json",
        "sentence_camembert_config.json",
        "sentence_xlm-roberta_config.json",
    ),
    "distilbert": ("sentence_distilbert_config.json",),
}
TRANSFORMERS = ("Transformer", "BERT", "RoBERTa", "DistilBERT", "CamemBERT", "XLMRoBERTa")
# Options of the pooling's config.json before 5.4, in the order of their parts of the vector -> `pooling`.
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
MODES = {mode: mode for mode in FLAGS.values()} | {"mean_sqrt_len_tokens": "mean_sqrt_len"}
# Classes of torch.nn that a dense layer or a cross-encoder names -> the zoo's names.
ACTIVATIONS = {
    "Tanh": "tanh",
    "Identity": "identity",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
}
# Options of a transformer's step that the zoo has one value of, and those that it does not have.
TASK, STATES = "feature-extraction", "last_hidden_state"
FOREIGN = ("processing_kwargs", "query_length", "document_length", "query_expansion")
DENSE_FILES = ("model.safetensors", "pytorch_model.bin")
CHAIN = re.compile("Transformer( > Pooling( > Dropout| > Dense)*( > Normalize)?)?( > Dropout)*|CLIPModel")


class Step(NamedTuple):
    """A line of modules.json: the class's name without its package, and the folder with its files."""

    kind: str
    path: str

    def file(self, name: str) -> str:
        """Returns the place of a file of the step."""
        return f"{self.path}/{name}" if self.path else name


def steps(name: str, read: Read) -> list[Step]:
    """Reads modules.json; gives no steps where there is none.

    Raises:
        ManifestError: it is no list of modules, or makes vectors in a way that the zoo does not have.
    """
    content = read(MODULES)
    if content is None:
        return []
    found = [
        Step(str(module.get("type")).rpartition(".")[2], str(module.get("path") or ""))
        for module in parsed(f"{name}: {MODULES}", content, list)
        if isinstance(module, dict)
    ]
    found = [Step("Transformer" if kind in TRANSFORMERS else kind, path) for kind, path in found]
    chain = " > ".join(step.kind for step in found)
    if not CHAIN.fullmatch(chain) or any(".." in step.path for step in found):
        raise ManifestError(
            f"{name!r} makes vectors by {chain}; the zoo has Transformer > Pooling, "
            "with Dense layers and Normalize after them, and a Transformer or CLIPModel alone."
        )
    return found


def keywords(name: str, read: Read) -> dict[str, Any]:
    """Returns the keywords of `create` that make embeddings; none for other models.

    Raises:
        ManifestError: a step or an option that the zoo does not have.
    """
    chain = steps(name, read)
    if len(chain) < 2 or chain[1].kind != "Pooling":  # none, or a cross-encoder
        return {}
    options = _options(name, chain[1], read)
    _check_transformer(name, chain[0], read)
    _check_prompts(name, options, read)
    dense = tuple(_projection(name, step, read) for step in chain if step.kind == "Dense")
    return {
        "head": "embedding",
        "pooling": _pooling(name, chain[1], options),
        "normalize": chain[-1].kind == "Normalize",
        **({"projections": dense} if dense else {}),
    }


def _check_transformer(name: str, step: Step, read: Read) -> None:
    """Checks that the step gives the states of all tokens, of the whole text.

    Raises:
        ManifestError: it gives anything else, or takes texts in another way.
    """
    content = read(step.file(TRANSFORMER_CONFIG))
    options = {} if content is None else parsed(f"{name}: {TRANSFORMER_CONFIG}", content, dict)
    text = (options.get("modality_config") or {}).get("text") or {}
    found = {
        "transformer_task": options.get("transformer_task") or TASK,
        "method_output_name": text.get("method_output_name") or STATES,
        **{key: options.get(key) for key in FOREIGN},
    }
    odd = {key: value for key, value in found.items() if value not in (None, {}, TASK, STATES)}
    if odd:
        raise ManifestError(
            f"{name!r}: {step.file(TRANSFORMER_CONFIG)} asks for {odd}; the zoo has {TASK} by {STATES} only."
        )


def _check_prompts(name: str, pooling: Mapping[str, Any], read: Read) -> None:
    """Checks that the tokens of a prompt are pooled with those of the text.

    Raises:
        ManifestError: they are left out, and there are prompts.
    """
    content = read(CONFIG) if pooling.get("include_prompt") is False else None
    options = {} if content is None else parsed(f"{name}: {CONFIG}", content, dict)
    if any((options.get("prompts") or {}).values()):
        raise ManifestError(
            f"{name!r} pools without its prompts (include_prompt: false); the zoo pools all tokens."
        )


def _pooling(name: str, step: Step, options: Mapping[str, Any]) -> str | tuple[str, ...]:
    said = options.get("pooling_mode")
    if said is None:
        said = [flag for flag, value in options.items() if flag.startswith("pooling_mode_") and value]
        said = sorted(said, key=[*FLAGS, *said].index) or ["mean"]
    modes = [said] if isinstance(said, str) else [*said]
    known = {**MODES, **FLAGS}
    unknown = [mode for mode in modes if mode not in known]
    if unknown or not modes:
        raise ManifestError(
            f"{name!r}: {step.file('config.json')} asks for {', '.join(map(repr, unknown)) or 'no pooling'}; "
            f"the zoo has {', '.join(FLAGS.values())}."
        )
    return known[modes[0]] if len(modes) == 1 else tuple(known[mode] for mode in modes)


def _projection(name: str, step: Step, read: Read) -> dict[str, Any]:
    """Returns what `create` takes for a dense layer after the pooling."""
    options = _options(name, step, read)
    inputs = (options.get("module_input_name"), options.get("module_output_name"))
    activation = str(options.get("activation_function", "torch.nn.Tanh")).rpartition(".")[2]
    known = activation in ACTIVATIONS and activation != "Softmax"
    if not known or options.get("use_residual") or not {*inputs} <= {None, "sentence_embedding"}:
        raise ManifestError(
            f"{name!r}: {step.file('config.json')} asks for {dict(options)}; the zoo has dense layers of "
            f"sentence_embedding, without residual, and with {', '.join(ACTIVATIONS)}."
        )
    return {
        "features": options.get("out_features"),
        "activation": ACTIVATIONS[activation],
        "use_bias": bool(options.get("bias", True)),
    }


def dense_tensors(name: str, read: Read) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the tensors of the dense layers after the pooling, by the names that the encoder has for them.

    Raises:
        ManifestError: a layer has no file of weights.
        CheckpointError: one cannot be read.
    """
    layers = [step for step in steps(name, read) if step.kind == "Dense"]
    for index, step in enumerate(layers):
        files = {file: read(step.file(file)) for file in DENSE_FILES}
        file, content = next(((file, each) for file, each in files.items() if each), ("", b""))
        if not content:
            raise ManifestError(f"{name!r} has none of {', '.join(map(step.file, DENSE_FILES))}.")
        tensors = read_buffer(step.file(file), np.frombuffer(content, np.uint8), name=file)
        yield from ((f"projections.{index}.{key.removeprefix('linear.')}", tensors[key]) for key in tensors)


def folder(name: str, read: Read) -> str:
    """Returns the folder that the transformer is in, such as 0_Transformer; empty for the top."""
    return next((step.path for step in steps(name, read)), "")


def _options(name: str, step: Step, read: Read) -> Mapping[str, Any]:
    file = step.file("config.json")
    content = read(file)
    if content is None:
        raise ManifestError(f"{name!r} has no {file}, which modules.json says it has.")
    options: Mapping[str, Any] = parsed(f"{name}: {file}", content, dict)
    return options


def parsed(place: str, content: bytes, kind: type) -> Any:
    """Returns the JSON in a file.

    Raises:
        ManifestError: it is not JSON, or of another kind.
    """
    try:
        value = decode_json(content, "is not JSON")
    except CheckpointError as error:
        raise ManifestError(f"{place} {error}.") from error
    if not isinstance(value, kind):
        raise ManifestError(f"{place} holds a {type(value).__name__}, expected a {kind.__name__}.")
    return value
