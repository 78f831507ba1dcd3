"""Names of tensors and options in files of the autoencoder; the layers here have those of diffusers."""

from converters import Reshape
from converters.matching import NamesAndRules
from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

STAGE_KINDS = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}


def _original(stages: int) -> NamesAndRules:
    """Returns the names in the authors' files, which count the decoder's stages from the end."""
    return (
        *(
            (rf"^decoder\.up_blocks\.{index}\.", f"decoder.up.{stages - 1 - index}.")
            for index in range(stages)
        ),
        (r"\.down_blocks\.", ".down."),
        (r"\.resnets\.(\d+)\.conv_shortcut\.", r".resnets.\1.nin_shortcut."),
        (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
        (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
        (r"\.mid_block\.attentions\.0\.group_norm\.", ".mid.attn_1.norm."),
        (r"\.mid_block\.attentions\.0\.to_([qkv])\.", r".mid.attn_1.\1."),
        (r"\.mid_block\.attentions\.0\.to_out\.0\.", ".mid.attn_1.proj_out."),
        (r"\.resnets\.", ".block."),
        (r"\.(down|up)samplers\.0\.", r".\1sample."),
        (r"\.conv_norm_out\.", ".norm_out."),
        *(Reshape(f"*.attn_1.{name}.weight", (0, 0, 1, 1)) for name in ("q", "k", "v", "proj_out")),
    )


TORCH_NAMES: dict[str, NamesAndRules] = {
    "diffusers": (),
    "diffusers_before_0.15": (  # as most repositories' files, which diffusers still reads
        (r"\.to_q\.", ".query."),
        (r"\.to_k\.", ".key."),
        (r"\.to_v\.", ".value."),
        (r"\.to_out\.0\.", ".proj_attn."),
    ),
    "original": _original(4),  # CompVis' latent diffusion
}
IGNORED = {r"loss\..*": "the discriminator and LPIPS that it was trained with"}
CONFIG_FIELDS = {
    "autoencoderkl": ConfigFields(
        keywords={
            "in_channels": "in_channels",
            "out_channels": "out_channels",
            "block_out_channels": "widths",
            "layers_per_block": "depth",
            "act_fn": "activation",
            "latent_channels": "latent_channels",
            "norm_num_groups": "groups",
            "scaling_factor": "scaling_factor",
            "shift_factor": "shift_factor",
            "latents_mean": "latents_mean",
            "latents_std": "latents_std",
            "use_quant_conv": "quant_conv",
            "use_post_quant_conv": "post_quant_conv",
            "mid_block_add_attention": "attention",
            "down_block_types": "down_block_types",
            "up_block_types": "up_block_types",
        },
        heads={"AutoencoderKL": {}},
        # How diffusers computes, not what: the size of tiles, and whether in float32.
        irrelevant=("sample_size", "force_upcast"),
        defaults={"widths": (64,), "depth": 1},
        inputs=(Input("images", (1, 256, 256, 3), "float32"),),
    )
}
