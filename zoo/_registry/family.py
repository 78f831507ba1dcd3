"""How a family reads the config.json of one of the Hub's models: a table, which the family's file holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo._registry.entry import Input

TOKENS = (Input("input_ids", (1, 16), "int32"),)

# transformers' names -> the zoo's
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
# What changes neither the module nor what its weights compute: how weights were initialised and stored, what
# transformers returns besides, options of its `generate`, and what is read elsewhere.
IRRELEVANT = frozenset(
    {
        "architectures",
        "model_type",
        "transformers_version",
        "_name_or_path",
        "name_or_path",
        "torch_dtype",
        "dtype",
        "initializer_range",
        "initializer_factor",
        "use_cache",
        "gradient_checkpointing",
        "output_attentions",
        "output_past",
        "output_hidden_states",
        "return_dict",
        "torchscript",
        "chunk_size_feed_forward",
        "finetuning_task",
        "problem_type",
        "task_specific_params",
        "tokenizer_class",
        "bos_token_id",
        "eos_token_id",
        "sep_token_id",
        "id2label",
        "label2id",
        "num_labels",
        "_num_labels",
        "do_sample",
        "max_length",
        "min_length",
        "num_beams",
        "temperature",
        "top_k",
        "top_p",
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
    }
)


@dataclass(frozen=True)
class Fields:
    """The attributes of one model_type.

    Attributes:
        keywords: The keyword of the family's `create` for each attribute that has one.
        heads: More keywords, for each class of transformers that `architectures` may name.
        fixed: The only value of an attribute that the family has; it is transformers' default, too.
        irrelevant: What changes nothing, beside IRRELEVANT.
        defaults: Keywords whose default is another one in transformers, or that no attribute has.
        inputs: What the model takes.
        classifies: Whether `create` takes num_classes.
        embeds: Whether there may be the files of sentence-transformers.
    """

    keywords: Mapping[str, str]
    heads: Mapping[str, Mapping[str, Any]]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    irrelevant: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Input, ...] = TOKENS
    classifies: bool = False
    embeds: bool = False
