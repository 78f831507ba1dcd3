"""transformers' generate, without caches of ours, and a GPT-2 whose texts are not a few tokens repeated."""

import numpy as np
import torch

import converters
import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from zoo import gpt2

CONFIG = {"vocab_size": 50, "max_length": 300, "width": 24, "depth": 2, "heads": 3}
PROMPTS = np.random.default_rng(0).integers(2, 50, size=(4, 17))
MASK = (np.arange(17) >= np.array([[0], [5], [12], [1]])).astype(int)


def twin() -> torch.nn.Module:
    sizes = {**text_models.GPT2, "n_positions": 300}
    made = randomise(text_models.model("GPT2LMHeadModel", sizes, ())).eval()
    with torch.no_grad():
        made.transformer.wpe.weight.mul_(30)  # so that the texts are not the same few tokens again and again
    return made


def model(twin: torch.nn.Module) -> zoo.Model:
    """In float64 where that is enabled."""
    tensors = {name: tensor for name, tensor in state_dict(twin).items() if name != "lm_head.weight"}
    module = gpt2.create(**CONFIG)
    names = gpt2.TORCH_NAMES["transformers"]
    return zoo.Model(module, converters.convert(tensors, module, PROMPTS, names=names))


def theirs(twin: torch.nn.Module, count: int, prompts=PROMPTS, mask=MASK, **options) -> np.ndarray:
    """The likeliest texts by transformers' own generate."""
    from transformers import GenerationConfig

    base = type(twin).__mro__[1]
    forward, type(twin).forward = type(twin).forward, base.forward
    try:
        chosen = {"eos_token_id": None, "pad_token_id": 0, **options}
        config = GenerationConfig(max_new_tokens=count, do_sample=False, **chosen)
        ids, kept = torch.from_numpy(prompts), torch.from_numpy(mask)
        return twin.generate(ids, attention_mask=kept, generation_config=config).numpy()
    finally:
        type(twin).forward = forward
