"""Language models of every model_type as transformers saves them: in four kinds of files, and what they say.

    python -m benchmarks.real.language_folders [PATTERN ...]

For each, a small model with random weights is saved as a folder of the Hub and loaded by its `config.json`:
from one file, from three shards or more, from `pytorch_model.bin`, and from bfloat16. The row has the largest
difference of outputs in float64, of a batch of odd length, padded on the right, as a part of the largest
output: from one file, and from bfloat16. Arrays from the other files are equal bit for bit, or the run ends.
Models that generate continue four prompts of several lengths by 200 tokens; the row has how many tokens are
transformers', and how many distinct ones there are. One that is outside the bound ends the run with 1.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import copy
import fnmatch
import gc
import shutil
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.torch
import torch
import transformers
from transformers.models.t5.modeling_t5 import T5LayerNorm

import zoo
from tests.equivalence import FORWARD, randomise
from tests.reference.decoders import wide

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
}
GPT = {"vocab_size": 300, "n_positions": 256, "n_embd": 32, "n_layer": 3, "n_head": 4}
BLOOM = {"vocab_size": 300, "hidden_size": 32, "n_layer": 3, "n_head": 4}
T5 = {"vocab_size": 300, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4}
DISTILBERT = {"vocab_size": 300, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48}
GROUPED = {"num_key_value_heads": 2}
EXPERTS = {**GROUPED, "num_experts_per_tok": 2, "experts_implementation": "eager"}
WINDOW = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}
GEMMA = {**GROUPED, "head_dim": 10}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 2}
CAPPED = {"attn_implementation": "eager", "sliding_window": 7}
ROPES = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}


class Kind(NamedTuple):
    """A model_type: a class of transformers, its options, and whether it continues texts."""

    name: str
    options: Mapping[str, Any] = MappingProxyType({})
    sizes: Mapping[str, Any] = SIZES
    generates: bool = True


encoder = partial(Kind, generates=False)


KINDS = {
    "gpt2": Kind("GPT2LMHeadModel", sizes=GPT),
    "llama": Kind("LlamaForCausalLM", GROUPED),
    "mistral": Kind("MistralForCausalLM", {**GROUPED, "sliding_window": 7}),
    "qwen2": Kind("Qwen2ForCausalLM", {**GROUPED, **WINDOW}),
    "qwen3": Kind("Qwen3ForCausalLM", GEMMA),
    "gemma": Kind("GemmaForCausalLM", GEMMA),
    "gemma2": Kind("Gemma2ForCausalLM", {**GEMMA, **CAPPED}),
    "gemma3_text": Kind("Gemma3ForCausalLM", {**GEMMA, **CAPPED, "rope_parameters": ROPES}),
    "olmo2": Kind("Olmo2ForCausalLM", GROUPED),
    "phi3": Kind("Phi3ForCausalLM", GROUPED),
    "stablelm": Kind("StableLmForCausalLM", GROUPED),
    "mixtral": Kind("MixtralForCausalLM", {**EXPERTS, "num_local_experts": 5}),
    "qwen2_moe": Kind(
        "Qwen2MoeForCausalLM", {**EXPERTS, "num_experts": 5, "shared_expert_intermediate_size": 24}
    ),
    "qwen3_moe": Kind(
        "Qwen3MoeForCausalLM",
        {**EXPERTS, "num_experts": 5, "moe_intermediate_size": 24, "mlp_only_layers": [1], "head_dim": 10},
    ),
    "gpt_neox": Kind("GPTNeoXForCausalLM"),
    "gptj": Kind("GPTJForCausalLM", {"rotary_dim": 4, "tie_word_embeddings": False}, GPT),
    "bloom": Kind("BloomForCausalLM", sizes=BLOOM),
    "falcon": Kind("FalconForCausalLM", sizes={**SIZES, "ffn_hidden_size": 48}),
    "opt": Kind("OPTForCausalLM", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "t5": Kind("T5ForConditionalGeneration", sizes=T5),
    "mt5": Kind("MT5ForConditionalGeneration", sizes=T5),
    "umt5": Kind("UMT5ForConditionalGeneration", sizes=T5),
    "bert": encoder("BertForMaskedLM"),
    "ernie": encoder("ErnieForMaskedLM", {"use_task_id": True}),
    "roberta": encoder("RobertaForMaskedLM"),
    "xlm-roberta": encoder("XLMRobertaForMaskedLM"),
    "camembert": encoder("CamembertForMaskedLM"),
    "data2vec-text": encoder("Data2VecTextForMaskedLM"),
    "distilbert": encoder("DistilBertForMaskedLM", sizes=DISTILBERT),
    "electra": encoder("ElectraForMaskedLM", {"embedding_size": 24}),
    "albert": encoder("AlbertForMaskedLM", {"embedding_size": 24}),
    "mpnet": encoder("MPNetForMaskedLM"),
    "modernbert": encoder("ModernBertForMaskedLM", {"local_attention": 6}),
    "deberta": encoder("DebertaForMaskedLM", RELATIVE),
    "deberta-v2": encoder("DebertaV2ForMaskedLM", {**RELATIVE, "position_buckets": 16}),
}
IDS = np.random.default_rng(4).integers(5, 300, size=(4, 13))
MASK = (np.arange(13) < np.array([13, 4, 9, 11])[:, None]).astype(int)
NEW = 200
SCALE = 8.0
TOKENS = ("wte.weight", "embed_tokens.weight", "embed_in.weight", "word_embeddings.weight", "shared.weight")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("patterns", nargs="*", default=["*"])
    patterns = parser.parse_args().patterns
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print("| model_type | class | shards | float64 | bfloat16 | greedy tokens equal | distinct | seconds |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    chosen = {name: kind for name, kind in KINDS.items() if any(fnmatch.fnmatch(name, p) for p in patterns)}
    with jax.enable_x64(True):
        right = [row(name, kind) for name, kind in chosen.items()]
    raise SystemExit(not all(right))


def row(name: str, kind: Kind) -> bool:
    """Prints what was measured of a model_type; whether all of it is right."""
    start, twin = time.perf_counter(), made(kind)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        twin.save_pretrained(root / "one")
        model = zoo.load(root / "one", pretrained=True)
        shards = in_shards(twin, root)
        in_pickle(root)
        for other in ("shards", "pickle"):
            same(model, zoo.load(root / other, pretrained=True), name, other)
        error = difference(twin, model)
        equal, distinct = continued(twin, model) if kind.generates else (None, None)
        half = in_half(twin, root)
    right = shards >= 3 and max(error, half) <= FORWARD and equal in (None, 4 * NEW)
    said = "| |" if equal is None else f"| {equal} of {4 * NEW} | {distinct} |"
    seconds = time.perf_counter() - start
    print(f"| {name} | {kind.name} | {shards} | {error:.1e} | {half:.1e} {said} {seconds:.0f} |", flush=True)
    jax.clear_caches()
    gc.collect()
    return right


def made(kind: Kind) -> Any:
    """A random model: layers say more than embeddings do, which would have the last token follow itself."""
    cls = getattr(transformers, kind.name)
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    said = {**kind.sizes, **ids, **kind.options}
    if "ffn_dim" in said or "ffn_hidden_size" in said:  # under another name
        said.pop("intermediate_size")
    if kind.sizes is T5:
        said["decoder_start_token_id"] = 0
    config = cls.config_class(**said)
    if "attn_implementation" not in kind.options:
        config._attn_implementation = "sdpa" if cls._supports_sdpa else "eager"
    with wide():
        twin = cls(config)
        twin.tie_weights()
        randomise(exact(twin), norms=0.5)
        with torch.no_grad():
            for path, tensor in twin.named_parameters():
                if tensor.ndim > 1 and not path.endswith(TOKENS):
                    tensor *= SCALE
    twin.tie_weights()
    return twin.eval()


def exact(module: Any) -> Any:
    """The module with PyTorch's norms for those of T5, which compute in float32."""
    for parent in [*module.modules()]:
        for child, norm in [*parent.named_children()]:
            if isinstance(norm, T5LayerNorm):
                setattr(parent, child, torch.nn.RMSNorm(len(norm.weight), norm.variance_epsilon))
    return module


def in_shards(twin: Any, root: Path) -> int:
    """Saves the model in three shards or more; how many they are."""
    size = (root / "one" / "model.safetensors").stat().st_size
    twin.save_pretrained(root / "shards", max_shard_size=size // 3)
    return len([*(root / "shards").glob("*.safetensors")])


def in_pickle(root: Path) -> None:
    """Saves the tensors of the file once more, by torch.save."""
    shutil.copytree(root / "one", root / "pickle")
    file = root / "pickle" / "model.safetensors"
    torch.save(safetensors.torch.load_file(file), root / "pickle" / "pytorch_model.bin")
    file.unlink()


def in_half(twin: Any, root: Path) -> float:
    """Saves the model in bfloat16; how far its outputs, computed in float64, are from the twin's."""
    copy.deepcopy(twin).to(torch.bfloat16).save_pretrained(root / "half")
    with torch.no_grad():
        for tensor in twin.parameters():  # tables of angles stay as they are
            tensor.copy_(tensor.bfloat16())
    model = zoo.load(root / "half", pretrained=True)
    types = {str(each.dtype) for each in jax.tree.leaves(model.variables)}
    assert types == {"bfloat16"}, types
    wider = jax.tree.map(lambda each: jnp.asarray(each, jnp.float64), model.variables)
    return difference(twin, model.replace(variables=wider))


def same(one: zoo.Model, other: zoo.Model, name: str, files: str) -> None:
    """Asserts that both have the same arrays."""
    assert jax.tree.structure(one.variables) == jax.tree.structure(other.variables), (name, files)
    for a, b in zip(jax.tree.leaves(one.variables), jax.tree.leaves(other.variables), strict=True):
        assert a.dtype == b.dtype, (name, files, a.dtype, b.dtype)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=f"{name}, {files}")


def difference(twin: Any, model: zoo.Model) -> float:
    """The largest difference of the outputs of tokens that are kept, as a part of the largest."""
    if twin.config.is_encoder_decoder:
        inputs: tuple[np.ndarray, ...] = (IDS, MASK, IDS[:, ::-1].copy())
    else:
        inputs = (IDS, MASK)
    names = ("input_ids", "attention_mask", "decoder_input_ids")
    with torch.no_grad(), wide():
        tensors = dict(zip(names, map(torch.from_numpy, inputs), strict=False))
        theirs = twin(**tensors).logits.numpy()
    ours = np.asarray(jax.jit(lambda model: model(*inputs).logits)(model))
    assert ours.dtype == theirs.dtype == np.float64, (ours.dtype, theirs.dtype)
    kept = np.ones_like(MASK, bool) if len(inputs) == 3 else MASK.astype(bool)
    return float(np.abs(ours - theirs)[kept].max() / np.abs(theirs[kept]).max())


def continued(twin: Any, model: zoo.Model) -> tuple[int, int]:
    """How many of the tokens that follow are transformers', and how many distinct ones there are."""
    seq2seq = twin.config.is_encoder_decoder
    mask = MASK if seq2seq else MASK[:, ::-1].copy()
    options = transformers.GenerationConfig(
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        decoder_start_token_id=0 if seq2seq else None,
    )
    with torch.no_grad(), wide():
        theirs = twin.generate(
            torch.from_numpy(IDS), attention_mask=torch.from_numpy(mask), generation_config=options
        ).numpy()
    ours = zoo.llama.generate(model, IDS, attention_mask=mask, max_new_tokens=NEW)
    found = ours[:, -NEW:], theirs[:, -NEW:]
    return int((found[0] == found[1]).sum()), len(np.unique(found[1]))


if __name__ == "__main__":
    main()
