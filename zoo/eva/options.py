"""Options of vision transformers whose attention knows places."""

from collections.abc import Sequence

from jax.typing import DTypeLike

from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices, check_options
from zoo._nn.patches import checked_sides, pair
from zoo._nn.stages import stage_indices
from zoo.eva.layers import NORMS, Sizes
from zoo.eva.model import POOL_HEADS, Eva
from zoo.eva.rotary import Rotary

HEADS = ("classification", "none", "maps")
POOLING = ("token", "average", "attention")
ROTARY = ("axial", "dinov3", "mixed")
_ORDERS = ("yx", "xy")
_RESIZING = ("timm", "transformers")


def create(
    *,
    image_size: int | Sequence[int] = 256,
    patch_size: int | Sequence[int] = 16,
    in_channels: int = 3,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    key_value_heads: int | Sequence[int] | None = None,
    feed_forward: int | None = None,
    num_classes: int = 1000,
    head: str = "classification",
    pooling: str = "average",
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    class_token: bool = True,
    registers: int = 4,
    positions: bool = False,
    class_position: bool = True,
    rotary: str | None = "dinov3",
    rotary_base: float = 100.0,
    rotary_grid: int | Sequence[int] | None = None,
    rotary_offset: float = 0.0,
    rotary_order: str = "yx",
    rotary_rescale: float | None = None,
    relative_bias: bool = False,
    shared_relative_bias: bool = False,
    resizing: str = "timm",
    patch_norm: bool = False,
    pre_norm: bool = False,
    post_norm: bool = False,
    final_norm: bool = True,
    fc_norm: bool = False,
    query_norm: bool = False,
    attention_norm: bool = False,
    mlp_norm: bool = False,
    norm: str = "layer",
    epsilon: float = 1e-5,
    maskable: bool = False,
    layer_scale: float = 1e-5,
    mlp_scale: bool = True,
    qkv_bias: bool = True,
    key_bias: bool = False,
    biases: bool = True,
    swiglu: bool = False,
    activation: str | None = None,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    mlp_dropout: float | None = None,
    stochastic_depth: float = 0.0,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> Eva:
    """Builds a vision transformer with rotary position embeddings; the defaults are DINOv3's ViT-B/16.

    Args:
        image_size: Side of the images, or height and width, in pixels; sets learned position embeddings.
        patch_size: Side of a patch, or height and width, in pixels.
        in_channels: Number of channels of the images.
        width: Size of the embeddings and hidden states.
        depth: Number of blocks.
        heads: Number of attention heads; divides the width.
        key_value_heads: Number of heads of keys and values, which several of queries share, or one for each
            block; by default `heads`.
        feed_forward: Size of the hidden layer between a block's dense layers; by default 4 * width.
        num_classes: Number of logits; 0 leaves the head out.
        head: One of HEADS: "classification" gives logits, "none" features, "maps" those of patches after
            several blocks.
        pooling: Input of the classifier, one of POOLING: the class token; "average", the mean of the patches;
            or "attention", what a learned query with eight heads attends to among all tokens.
        out_indices: Blocks whose outputs are the maps, counted from 1, 0 is what enters the first one; by
            default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        class_token: If true, there is a class token.
        registers: Number of tokens behind the class token.
        positions: If true, adds learned position embeddings, too.
        class_position: If true, class token and registers have one of these.
        rotary: What turns queries and keys, one of ROTARY, or None: "axial", the indices of a patch's row and
            column, each one half; "dinov3", the same for the centers of patches in an image from -1 to 1;
            "mixed", sums of both indices by learned frequencies.
        rotary_base: Quotient of the largest frequency and, almost, the smallest one.
        rotary_grid: Patches down and across in training; the indices of "axial" are stretched to these.
        rotary_offset: Index of the first patch.
        rotary_order: Order of places: "yx", rows before columns, or "xy".
        rotary_rescale: Largest factor by which places are multiplied or divided at random, in training.
        relative_bias: If true, each block has learned biases of attention for relative places, as in BEiT.
        shared_relative_bias: If true, has one such table for all blocks.
        resizing: Library whose resizing of learned places is used, "timm" or "transformers".
        patch_norm: If true, normalizes patches before anything is added to them.
        pre_norm: If true, normalizes the first block's input; patches then have no bias.
        post_norm: If true, norms come after attention and MLP instead of before them.
        final_norm: If true, normalizes the last block's output.
        fc_norm: If true, this norm comes after pooling.
        query_norm: If true, normalizes queries and keys, each head by itself.
        attention_norm: If true, normalizes what heads attend to.
        mlp_norm: If true, normalizes the hidden layer of the MLP.
        norm: Kind of all norms: "layer" or "rms".
        epsilon: Epsilon of the norms.
        maskable: If true, has a token for masked patches.
        layer_scale: Initial value of the scales after attention and MLP; 0 leaves them out.
        mlp_scale: If true, there is one after the MLP, too.
        qkv_bias: If true, adds a bias to queries and values.
        key_bias: If true, adds one to keys, too, where `qkv_bias` adds any.
        biases: If true, other dense layers of blocks have biases.
        swiglu: If true, the MLP's hidden layer has gates (SwiGLU).
        activation: Name of the activation in the MLP; by default "gelu", or with `swiglu` "silu".
        dropout: Rate after the position embeddings and each dense layer.
        attention_dropout: Rate of the attention weights.
        mlp_dropout: Rate between the MLP's dense layers; by default `dropout`.
        stochastic_depth: Rate at which the last block's branches are left out for an example, in training; it
            rises from 0 at the first one.
        scan: If true, runs the blocks in a loop over stacked arrays: deep models compile sooner.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: sizes that do not fit each other, or no such activation, head, norm, pooling or rotary.
    """
    check_choices(
        head=(head, HEADS),
        pooling=(pooling, POOLING),
        rotary=(rotary, (None, *ROTARY)),
        rotary_order=(rotary_order, _ORDERS),
        resizing=(resizing, _RESIZING),
        norm=(norm, NORMS),
    )
    image, patch = checked_sides(image_size, patch_size)
    few = heads if key_value_heads is None else key_value_heads
    shared = (few,) * depth if isinstance(few, int) else tuple(few)
    grid = (image[0] // patch[0], image[1] // patch[1])
    relative = relative_bias or shared_relative_bias
    equal = len({*shared}) <= 1 and not stochastic_depth
    check_options(
        ("width", width, width % heads == 0, f"a number that {heads} heads can share"),
        (
            "width",
            width,
            not rotary or width // heads % 4 == 0,
            f"heads ({heads}) of four numbers or a multiple",
        ),
        ("width", width, pooling != "attention" or width % POOL_HEADS == 0, f"a multiple of {POOL_HEADS}"),
        ("key_value_heads", shared, len(shared) == depth, f"one for each of {depth} blocks"),
        ("key_value_heads", shared, not any(heads % each for each in shared), f"divisors of heads={heads}"),
        ("pooling", pooling, class_token or pooling != "token", "another one without a class token"),
        ("rotary_grid", rotary_grid, rotary_grid is None or rotary == "axial", 'None without rotary="axial"'),
        ("rotary_offset", rotary_offset, not rotary_offset or rotary == "axial", '0 without rotary="axial"'),
        ("registers", registers, not (relative and registers), "0 with biases of relative places"),
        ("class_token", class_token, class_token or not relative, "True with biases of relative places"),
        ("rotary_rescale", rotary_rescale, (rotary_rescale or 1) >= 1, "a number of at least 1, or None"),
        ("final_norm", final_norm, final_norm or not fc_norm, "True with fc_norm=True"),
        ("layer_scale", layer_scale, not (layer_scale and post_norm), "0 with post_norm=True"),
        ("scan", scan, equal or not scan, "False where blocks differ: key_value_heads, stochastic_depth"),
    )
    return Eva(
        image_size=image,
        patch_size=patch,
        in_channels=in_channels,
        series=LayerStack(depth, scan=scan, remat=remat),
        sizes=Sizes(
            width=width,
            heads=heads,
            feed_forward=feed_forward or 4 * width,
            swiglu=swiglu,
            qkv_bias=qkv_bias,
            key_bias=key_bias,
            biases=biases,
            query_norm=query_norm,
            attention_norm=attention_norm,
            mlp_norm=mlp_norm,
            post_norm=post_norm,
            layer_scale=layer_scale,
            mlp_scale=mlp_scale,
            halves=rotary == "dinov3",
            relative=grid if relative_bias else None,
            resizing=resizing,
            norm=norm,
            activation=check_activation(activation or ("silu" if swiglu else "gelu")),
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
            mlp_dropout=dropout if mlp_dropout is None else mlp_dropout,
        ),
        key_value_heads=shared,
        stochastic_depth=stochastic_depth,
        rotary=Rotary(
            kind=rotary,
            base=rotary_base,
            trained=None if rotary_grid is None else pair(rotary_grid),
            offset=rotary_offset,
            across_first=rotary_order == "xy",
            rescale=rotary_rescale or 1.0,
        )
        if rotary
        else None,
        num_classes=num_classes if head == "classification" else 0,
        class_token=class_token,
        registers=registers,
        positions=positions,
        class_position=class_position,
        shared_relative=shared_relative_bias,
        patch_norm=patch_norm,
        pre_norm=pre_norm,
        final_norm=final_norm,
        norm_after_pooling=fc_norm,
        maskable=maskable,
        pooling=pooling,
        returns_maps=head == "maps",
        out_indices=stage_indices(out_indices, out_features, depth) if head == "maps" else (),
        dtype=dtype,
    )
