"""Merged adapters against the unmerged formulas in torch, in float64."""

from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import zoo
from tests.equivalence import FORWARD, randomise, state_dict
from tests.reference import low_rank, text_models
from tests.reference.published import declare_operators
from tests.zoo.loading.test_transformers_config import BERT, GPT2, write

RNG = np.random.default_rng(0)
IDS = RNG.integers(2, 50, (2, 9))
GPT2_MODEL = {**GPT2, "architectures": ["GPT2Model"]}
BERT_CLASSES = {**BERT, "architectures": ["BertForSequenceClassification"], "num_labels": 3}
RESNET = {
    "model_type": "resnet",
    "architectures": ["ResNetForImageClassification"],
    "layer_type": "basic",
    "embedding_size": 8,
    "hidden_sizes": [8, 12],
    "depths": [1, 1],
    "num_labels": 4,
}
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
    "bos_token_id": None,
    "eos_token_id": None,
}
IMAGES = RNG.normal(size=(2, 3, 40, 36))
C_ATTN, C_PROJ = "transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_proj"  # the second is square
QUERY, DENSE = "bert.encoder.layer.0.attention.self.query", "bert.encoder.layer.1.output.dense"
CASES = {
    "lora": (GPT2, {C_ATTN: 3, C_PROJ: 3}, {}),
    "rank-stabilized": (GPT2, {C_ATTN: 3}, {"use_rslora": True}),
    "dora": (GPT2, {C_ATTN: 3, C_PROJ: 3, "transformer.wpe": 3}, {"use_dora": True}),
    "patterns": (
        GPT2,
        {C_ATTN: 5, C_PROJ: 3},
        {"rank_pattern": {"h.0.attn.c_attn": 5}, "alpha_pattern": {C_PROJ: 24}},
    ),
    "bias": (GPT2, {C_ATTN: 3}, {"lora_bias": True}),
    "embedding": (GPT2, {"transformer.wpe": 3}, {}),
    "base model": (GPT2_MODEL, {"h.1.mlp.c_fc": 3}, {}),
    "encoder": (BERT_CLASSES, {QUERY: 3, DENSE: 3}, {"use_dora": True}),
    "convolutions": (RESNET, {"resnet.encoder.stages.1.layers.0.layer.0.convolution": 3}, {"use_dora": True}),
}


def torch_model(config):
    name = config["architectures"][0]
    if config["model_type"] != "resnet":
        options = {"num_labels": 3} if "num_labels" in config else {}
        return randomise(getattr(text_models, config["model_type"])(name, **options)).eval()
    declare_operators()
    import transformers

    made = transformers.ResNetForImageClassification(transformers.ResNetConfig(**config))
    made.forward = lambda images: (made.classifier(made.resnet(images).pooler_output),)
    return randomise(made).eval()


def outputs(model, inputs):
    with jax.enable_x64(True):
        made = jax.jit(model.module.apply)(
            model.variables, np.moveaxis(inputs, 1, -1) if inputs.ndim == 4 else inputs
        )
        values = made if isinstance(made, jax.Array) else next(iter(jax.tree.leaves(made)))
        return np.asarray(values)


@pytest.fixture
def base(tmp_path):
    """Makes a directory of a model and the same in torch."""

    def make(config, **options):
        model = torch_model(config)
        directory = write(tmp_path / "base", config, state_dict(model))
        with jax.enable_x64(True):
            loaded = zoo.load(directory, pretrained=True, **options)
        return SimpleNamespace(torch=model, model=loaded, directory=directory)

    return make


def merged(model, directory):
    with jax.enable_x64(True):
        return zoo.merge_adapter(model, directory)


def torch_outputs(model, inputs):
    import torch

    with torch.no_grad():
        return model(torch.from_numpy(inputs))[0].numpy()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_merged_outputs_are_those_of_the_adapted_layers(base, tmp_path, case):
    config, ranks, options = case
    both = base(config)
    tensors, said = low_rank.adapt(
        both.torch, ranks, dora="use_dora" in options, bias="lora_bias" in options, **options
    )
    directory = low_rank.write(tmp_path / "adapter", tensors, said)
    inputs = IMAGES if config is RESNET else IDS
    found, wanted = outputs(merged(both.model, directory), inputs), torch_outputs(both.torch, inputs)
    assert np.abs(found - wanted).max() <= FORWARD * np.abs(wanted).max()


def test_blocks_of_a_loop_names_without_their_model_and_pickles_are_merged_alike(base, tmp_path):
    both = base(GPT2, scan=True)
    tensors, said = low_rank.adapt(both.torch, {C_ATTN: 3, C_PROJ: 3})
    inner = {
        name.replace("transformer.", "").replace("lora_A.", "lora_A.default."): each
        for name, each in tensors.items()
    }
    directory = low_rank.write(tmp_path / "adapter", inner, said, "bin")
    found, wanted = outputs(merged(both.model, directory), IDS), torch_outputs(both.torch, IDS)
    assert np.abs(found - wanted).max() <= FORWARD * np.abs(wanted).max()


def test_layers_that_were_trained_whole_take_the_place_of_new_ones(base, tmp_path):
    both = base(BERT_CLASSES)
    tensors, said = low_rank.adapt(both.torch, {QUERY: 3}, modules_to_save=["classifier"])
    kernel, bias = RNG.normal(size=(5, 24)), RNG.normal(size=5)
    tensors |= {
        "base_model.model.classifier.weight": kernel,
        "base_model.model.classifier.modules_to_save.default.bias": bias,
    }
    directory = low_rank.write(tmp_path / "adapter", tensors, said)
    with pytest.raises(zoo.WeightsError, match=r"classifier.weight: a tensor \(5, 24\) for one \(3, 24\)"):
        merged(both.model, directory)
    with jax.enable_x64(True):
        new = zoo.load(both.directory, pretrained=True, num_classes=5)
    made = merged(new, directory)
    assert new.origin.initialized
    assert not made.origin.initialized
    assert np.array_equal(made.variables["params"]["classifier"]["kernel"], kernel.T.astype("f4"))
    assert np.array_equal(made.variables["params"]["classifier"]["bias"], bias.astype("f4"))
    assert (made.entry.weights, made.entry.layout) == (None, None)


def test_a_head_of_its_own_is_merged_apart_from_the_embeddings(tmp_path):
    model = zoo.load(write(tmp_path / "base", LLAMA, {}))
    down, up, table = (RNG.normal(size=shape).astype("f4") for shape in ((3, 24), (50, 3), (50, 24)))
    tensors = {
        "base_model.model.lm_head.lora_A.weight": down,
        "base_model.model.lm_head.lora_B.weight": up,
        "base_model.model.model.embed_tokens.weight": table,
    }
    directory = low_rank.write(tmp_path / "adapter", tensors, low_rank.CONFIG)
    made = zoo.merge_adapter(model, directory).variables["params"]
    kernel = model.variables["params"]["lm_head"]["kernel"] + 4 * (up @ down).T
    np.testing.assert_allclose(made["lm_head"]["kernel"], kernel, rtol=1e-5, atol=1e-5)
    assert np.array_equal(made["embed_tokens"]["embedding"], table)


A = {"base_model.model.h.0.attn.c_attn.lora_A.weight": np.ones((3, 24))}
B = {"base_model.model.h.0.attn.c_attn.lora_B.weight": np.ones((72, 3))}
REFUSED = {
    "another type": ({"peft_type": "IA3"}, A | B, "of the type 'IA3'; the zoo has 'LORA': merge it"),
    "copied layers": ({"layer_replication": [[0, 1]]}, A | B, r"layer_replication: \[\[0, 1\]\]"),
    "a changed base": ({"init_lora_weights": "pissa"}, A | B, "'pissa', which changes the base model's"),
    "an unknown option": ({"use_next_lora": True}, A | B, "use_next_lora: True"),
    "no rank": ({"r": 0}, A | B, "r: 0; expected a whole number above 0"),
    "another rank": ({"r": 4}, A | B, "matrices of the ranks 3 and 3; its config says 4"),
    "half of it": ({}, A, "c_attn: lora_A; expected a matrix A and a matrix B"),
    "another shape": ({}, A | {next(iter(B)): np.ones((71, 3))}, r"for a weight \(24, 72\)"),
    "another layer": (
        {},
        {name.replace("c_attn", "q_proj"): each for name, each in (A | B).items()},
        "the adapter changes h.0.attn.q_proj.weight, which 'base' does not have",
    ),
    "a tied embedding": (
        {},
        {
            "base_model.model.transformer.wte.lora_embedding_A": np.ones((3, 50)),
            "base_model.model.transformer.wte.lora_embedding_B": np.ones((24, 3)),
        },
        "transformer.wte.weight alone, which is the matrix of the head, too",
    ),
    "a tied head": (
        {},
        A | B | {"base_model.model.lm_head.weight": np.ones((50, 24))},
        "trained lm_head.weight apart",
    ),
}


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    directory = write(tmp_path_factory.mktemp("gpt2") / "base", GPT2, state_dict(torch_model(GPT2)))
    with jax.enable_x64(True):
        model = zoo.load(directory, pretrained=True)
    return model.replace(variables=model.variables), directory


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_merged_is_refused_by_name(gpt2, tmp_path, case):
    options, tensors, message = case
    directory = low_rank.write(tmp_path / "adapter", tensors, {**low_rank.CONFIG, **options})
    with pytest.raises(zoo.ZooError, match=message.replace("'base'", "'.*base'")):
        zoo.merge_adapter(gpt2[0], directory)


def test_wide_weights_are_not_narrowed_in_silence(gpt2, tmp_path):
    directory = low_rank.write(tmp_path / "adapter", A | B, low_rank.CONFIG)
    with pytest.raises(zoo.WeightsError, match="jax_enable_x64"):
        zoo.merge_adapter(gpt2[0], directory)


def test_a_directory_without_the_files_of_an_adapter_says_so(gpt2, tmp_path):
    for directory, message in (
        (tmp_path / "none", "there is no directory"),
        (gpt2[1], "has no adapter_config.json"),
    ):
        with pytest.raises(zoo.WeightsError, match=message):
            zoo.merge_adapter(gpt2[0], directory)
    directory = low_rank.write(tmp_path / "adapter", A | B, low_rank.CONFIG)
    (directory / "adapter_model.safetensors").unlink()
    with pytest.raises(zoo.WeightsError, match=r"has none of adapter_model\.safetensors, adapter_model\.bin"):
        zoo.merge_adapter(gpt2[0], directory)


def test_an_adapter_is_no_model_and_says_how_it_is_used(tmp_path):
    said = {**low_rank.CONFIG, "base_model_name_or_path": "openai-community/gpt2"}
    directory = low_rank.write(tmp_path / "adapter", A | B, said)
    load = partial(zoo.load, directory, pretrained=True)
    with pytest.raises(
        zoo.ManifestError, match=r"load 'openai-community/gpt2' .* zoo.merge_adapter\(model, '.*adapter'\)"
    ):
        load()


def test_an_adapter_of_a_repository_is_fetched_once_and_is_no_model(hub, offline, gpt2, tmp_path):
    tensors, said = low_rank.adapt(torch_model(GPT2), {C_ATTN: 3})
    directory = low_rank.write(tmp_path / "adapter", tensors, said)
    hub.commit("someone/adapter", {path.name: path.read_bytes() for path in directory.iterdir()})
    with pytest.raises(zoo.ManifestError, match=r"zoo.merge_adapter\(model, 'hf://someone/adapter'\)"):
        zoo.load("hf://someone/adapter")
    merged(gpt2[0], "hf://someone/adapter")
    offline()
    made = merged(gpt2[0], "hf://someone/adapter")
    jax.tree.map(np.testing.assert_array_equal, made.variables, merged(gpt2[0], directory).variables)
