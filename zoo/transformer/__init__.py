"""The original Transformer: encoder and decoder, for translation.

Vaswani et al., "Attention Is All You Need", https://arxiv.org/abs/1706.03762.
"""

from converters.matching import Fuse
from zoo.transformer.model import Transformer, create

__all__ = ["TENSOR_PARALLEL", "TORCH_NAMES", "Transformer", "create"]

# torch.nn.Transformer's names below `transformer`; it packs the three projections of an attention. Embeddings
# and head, which it lacks, have the names of PyTorch's tutorial "Language Translation with nn.Transformer".
TORCH_NAMES = {
    "torch": (
        (r"^(encoder|decoder)\.", r"transformer.\1."),
        (r"_tok_emb\.", "_tok_emb.embedding."),
        Fuse("*.in_proj_weight", ("*.q_proj.weight", "*.k_proj.weight", "*.v_proj.weight")),
        Fuse("*.in_proj_bias", ("*.q_proj.bias", "*.k_proj.bias", "*.v_proj.bias")),
    ),
}

# Which axes of an array are spread over devices; see zoo.tensor_parallel.
TENSOR_PARALLEL = {
    "(src|tgt)_tok_emb/embedding": ("model", None),
    "([qkv]_proj|linear1|generator)/kernel": (None, "model"),
    "([qkv]_proj|linear1|generator)/bias": ("model",),
    "(out_proj|linear2)/kernel": ("model", None),
}
