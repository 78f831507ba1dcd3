"""Adapters beside the weights of a state dict, as PEFT, loralib and diffusers train them."""

import re
from collections.abc import Iterable

ADAPTER = re.compile(
    r"(.*\.)?(lora_([ABab]|embedding_[AB]|magnitude_vector|down|up)|ia3_l|hada_w[12]_[ab]|lokr_w[12])(\..+)?"
)


def refusal(names: Iterable[str]) -> str | None:
    """Returns what to do about the adapters among the names, or None where there are none."""
    found = [name for name in names if ADAPTER.fullmatch(name)]
    if not found:
        return None
    return (
        f"the state dict holds {len(found)} tensors of LoRA adapters, such as {found[0]!r}, that are not "
        "merged with its weights, and not the scale to merge them with; where it was made, save "
        "model.merge_and_unload().state_dict()"
    )
