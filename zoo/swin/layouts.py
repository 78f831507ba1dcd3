"""Names of tensors in files of Swin transformers; the layers here have torchvision's."""

_STAGES = range(8)  # more than any
TORCH_NAMES = {
    "torchvision": (),  # every layer has its torchvision name
    "timm": (
        (r"^features\.0\.0\.", "patch_embed.proj."),
        (r"^features\.0\.2\.", "patch_embed.norm."),
        *((rf"^features\.{2 * n + 1}\.", f"layers.{n}.blocks.") for n in _STAGES),
        *((rf"^features\.{2 * n}\.", f"layers.{n}.downsample.") for n in _STAGES[1:]),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.3\.", ".mlp.fc2."),
        (r"^head\.", "head.fc."),
        # An activation and a dropout lie between the layers, in torchvision alone.
    ),
}
REPLACED_HEAD = {r"head\..*": "the head"}
# Buffers that are computed of the sizes of windows and images.
IGNORED = {
    r"(.*\.)?relative_position_index": "the indices of relative places, which the windows' size tells",
    r"(.*\.)?relative_coords_table": "relative places, which the windows' size tells",
    r"(.*\.)?attn_mask": "masks of shifted windows, which the images' size tells",
}
