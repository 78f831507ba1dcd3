"""Options of vision transformers."""

from collections.abc import Sequence

from jax.typing import DTypeLike

from zoo._nn.layer_stack import LayerStack
from zoo._nn.layers import check_activation
from zoo._nn.options import check_choices, check_options
from zoo._nn.patches import RESIZING, checked_sides
from zoo._nn.stages import stage_indices
from zoo.vit.layers import Sizes
from zoo.vit.model import ViT

HEADS = ("classification", "none", "pooler", "maps", "masked_images")
_UNCLASSED = ("average", "attention")  # pooling that needs no class token
POOLING = ("token", "both", "concat", *_UNCLASSED)


def create(
    *,
    image_size: int | Sequence[int] = 224,
    patch_size: int | Sequence[int] = 16,
    in_channels: int = 3,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    feed_forward: int | None = None,
    num_classes: int = 1000,
    head: str = "classification",
    pooling: str | None = None,
    out_indices: Sequence[int] | None = None,
    out_features: Sequence[str] | None = None,
    encoder_stride: int = 16,
    class_token: bool = True,
    class_position: bool = True,
    distilled: bool = False,
    registers: int = 0,
    pre_norm: bool = False,
    final_norm: bool = True,
    fc_norm: bool | None = None,
    representation: int | bool = 0,
    maskable: bool = False,
    layer_scale: float = 0.0,
    swiglu: bool = False,
    qkv_bias: bool = True,
    activation: str = "gelu",
    epsilon: float = 1e-6,
    resizing: str = "timm",
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    mlp_dropout: float | None = None,
    stochastic_depth: float = 0.0,
    scan: bool = False,
    remat: bool = False,
    dtype: DTypeLike | None = None,
) -> ViT:
    """Builds a vision transformer; the defaults are timm's vit_base_patch16_224.

    Args:
        image_size: Side of the images, or height and width, in pixels; sets the position embeddings.
        patch_size: Side of a patch, or height and width, in pixels.
        in_channels: Number of channels of the images.
        width: Size of the embeddings and hidden states.
        depth: Number of blocks.
        heads: Number of attention heads; divides the width.
        feed_forward: Size of the hidden layer between a block's two dense layers; by default 4 * width, or,
            with `swiglu`, two thirds of that, rounded up to a multiple of 8.
        num_classes: Number of logits; 0 leaves the heads out.
        head: One of HEADS: "classification" gives logits, "none" features, "pooler" these through a dense
            layer with tanh, "maps" those of patches after several blocks, "masked_images" the images whose
            patches were masked.
        pooling: Input of the classifier, one of POOLING: the class token; "both", this and that of DeiT,
            whose logits are averaged; "concat", the class token beside the mean of the patches; "average",
            that mean alone; or "attention", what a learned query attends to among them. By default "both"
            with `distilled`.
        out_indices: Blocks whose outputs are the maps, counted from 1, 0 is what enters the first one; by
            default the last.
        out_features: The same by name: "stem", "stage1", "stage2" ...
        encoder_stride: Side of the square that "masked_images" makes of a patch, in pixels.
        class_token: If true, there is a class token.
        class_position: If true, it has a position embedding.
        distilled: If true, adds a second token and a second head, as in DeiT.
        registers: Number of tokens behind the class token that no head reads.
        pre_norm: If true, normalizes the first block's input, as in CLIP; patches then have no bias.
        final_norm: If true, normalizes the last block's output.
        fc_norm: If true, that norm comes after pooling; by default only after that of "average".
        representation: Size of a dense layer with tanh before the head; True takes `width`, 0 none.
        maskable: If true, has a token for masked patches.
        layer_scale: Initial value of the scales after attention and MLP; 0 leaves them out.
        swiglu: If true, blocks have gated dense layers (SwiGLU), as the largest DINOv2.
        qkv_bias: If true, adds a bias to queries, keys and values.
        activation: Name of the activation between a block's two dense layers.
        epsilon: Epsilon of the layer norms.
        resizing: Library whose resizing of position embeddings is used, one of RESIZING.
        dropout: Rate after the position embeddings and before each residual connection.
        attention_dropout: Rate of the attention weights.
        mlp_dropout: Rate between a block's two dense layers; by default `dropout`.
        stochastic_depth: Rate at which the last block's branches are left out for an example, in training; it
            rises from 0 at the first one.
        scan: If true, runs the blocks in a loop over stacked arrays: deep models compile sooner.
        remat: If true, recomputes a block's activations for gradients instead of keeping them: less memory.
        dtype: Dtype to compute in; parameters stay in theirs.

    Raises:
        ZooError: sizes that do not fit each other, or no such activation, head, pooling or resizing.
    """
    image, patch = checked_sides(image_size, patch_size)
    pooling = pooling or ("both" if distilled else "token")
    if head == "pooler":
        representation = representation or True
    norm_after_pooling = pooling == "average" if fc_norm is None else fc_norm
    check_choices(head=(head, HEADS), pooling=(pooling, POOLING), resizing=(resizing, RESIZING))
    check_options(
        ("width", width, width % heads == 0, f"a number that {heads} heads can share"),
        ("fc_norm", fc_norm, not (norm_after_pooling and pooling == "both"), 'False with pooling="both"'),
        (
            "fc_norm",
            fc_norm,
            not (norm_after_pooling and head == "masked_images"),
            "False where nothing is pooled",
        ),
        ("representation", representation, not (pooling == "both" and representation), "0 with two tokens"),
        ("pooling", pooling, pooling != "both" or distilled, "another one without distilled=True"),
        ("pooling", pooling, class_token or pooling in _UNCLASSED, f"one of {', '.join(_UNCLASSED)}"),
        ("distilled", distilled, class_token or not distilled, "False without a class token"),
        (
            "scan",
            scan,
            not (scan and stochastic_depth),
            "False with stochastic_depth, which blocks differ in",
        ),
    )
    return ViT(
        image_size=image,
        patch_size=patch,
        in_channels=in_channels,
        series=LayerStack(depth, scan=scan, remat=remat),
        num_classes=num_classes if head == "classification" else 0,
        class_token=class_token,
        class_position=class_position,
        distilled=distilled,
        registers=registers,
        pre_norm=pre_norm,
        final_norm=final_norm,
        norm_after_pooling=norm_after_pooling,
        representation=width if representation is True else int(representation),
        maskable=maskable,
        resizing=resizing,
        head_kind=head if head in ("maps", "masked_images") else "classification",
        pooling=pooling,
        out_indices=stage_indices(out_indices, out_features, depth) if head == "maps" else (),
        decoder_stride=encoder_stride if head == "masked_images" else 1,
        sizes=Sizes(
            width=width,
            heads=heads,
            feed_forward=feed_forward or (-(-int(8 * width / 3) // 8) * 8 if swiglu else 4 * width),
            qkv_bias=qkv_bias,
            layer_scale=layer_scale,
            activation=check_activation(activation),
            epsilon=epsilon,
            dropout=dropout,
            attention_dropout=attention_dropout,
            mlp_dropout=dropout if mlp_dropout is None else mlp_dropout,
            swiglu=swiglu,
        ),
        stochastic_depth=stochastic_depth,
        dtype=dtype,
    )
