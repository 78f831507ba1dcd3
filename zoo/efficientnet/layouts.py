"""Names of tensors in files of EfficientNet; the layers here have torchvision's."""

# timm's kinds of blocks -> their layers by torchvision's indices, which leave out what a block does not have
_KINDS = {
    "separable": (
        (r"0\.0", "conv_dw"),
        (r"0\.1", "bn1"),
        (r"1\.fc1", "se.conv_reduce"),
        (r"1\.fc2", "se.conv_expand"),
        (r"[12]\.0", "conv_pw"),
        (r"[12]\.1", "bn2"),
    ),
    "inverted": (
        (r"0\.0", "conv_pw"),
        (r"0\.1", "bn1"),
        (r"1\.0", "conv_dw"),
        (r"1\.1", "bn2"),
        (r"2\.fc1", "se.conv_reduce"),
        (r"2\.fc2", "se.conv_expand"),
        (r"[23]\.0", "conv_pwl"),
        (r"[23]\.1", "bn3"),
    ),
    "fused": ((r"0\.0", "conv_exp"), (r"0\.1", "bn1"), (r"1\.0", "conv_pwl"), (r"1\.1", "bn2")),
    "plain": ((r"0\.0", "conv"), (r"0\.1", "bn1")),
}


def _timm(*kinds: str) -> tuple[tuple[str, str], ...]:
    """Returns the names pairs for stages of these kinds."""
    return (
        (r"^features\.0\.0\.", "conv_stem."),
        (r"^features\.0\.1\.", "bn1."),
        (r"^features\.\d+\.0\.(?=\w+$)", "conv_head."),
        (r"^features\.\d+\.1\.(?=\w+$)", "bn2."),
        *(
            (rf"^features\.{stage + 1}\.(\d+)\.block\.{part}\.", rf"blocks.{stage}.\1.{name}.")
            for stage, kind in enumerate(kinds)
            for part, name in _KINDS[kind]
        ),
        (r"^classifier\.1\.", "classifier."),
    )


TORCH_NAMES = {
    "torchvision": (),  # every layer has its torchvision name
    "timm": _timm("separable", *["inverted"] * 6),
    "timm_v2": _timm("plain", "fused", "fused", *["inverted"] * 4),
}
REPLACED_HEAD = {r"classifier(\.1)?\..*": "the head"}
