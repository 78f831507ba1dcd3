"""More networks in PyTorch, small, with the names and order that their usual implementations have."""

import torch
from torch import Tensor, nn


class WindowAttention(nn.Module):
    """Returns the result for one window, the whole picture."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, heads))
        self.qkv, self.proj, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads
        side = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        index = (side[:, :, None] - side[:, None, :] + 1).permute(1, 2, 0)
        self.register_buffer("relative_position_index", index[..., 0] * 3 + index[..., 1])

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        scores = scores + self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), WindowAttention(width, 2)
        self.norm2, self.mlp = nn.LayerNorm(width), Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        windows = x.reshape(batch, height // 2, 2, width // 2, 2, -1).transpose(2, 3)
        y = self.attn(self.norm1(windows).reshape(-1, 4, x.shape[-1]))
        y = y.reshape(windows.shape).transpose(2, 3).reshape(x.shape)
        x = x + y
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction, self.norm = nn.Linear(4 * width, 2 * width, bias=False), nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        quarters = (x[:, i::2, j::2] for j in (0, 1) for i in (0, 1))
        return self.reduction(self.norm(torch.cat([*quarters], -1)))


class Swin(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj, self.patch_embed.norm = nn.Conv2d(3, width, 2, 2), nn.LayerNorm(width)
        self.layers = nn.ModuleList()
        for index in range(2):
            layer = nn.Module()
            layer.blocks = nn.ModuleList([SwinBlock(width << index) for _ in range(2)])
            if index == 0:
                layer.downsample = PatchMerging(width)
            self.layers.append(layer)
        self.norm, self.head = nn.LayerNorm(2 * width), nn.Linear(2 * width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed.norm(self.patch_embed.proj(x).movedim(1, -1))
        for layer in self.layers:
            for block in layer.blocks:
                x = block(x)
            x = layer.downsample(x) if hasattr(layer, "downsample") else x
        return self.head(self.norm(x).mean((1, 2)))


class ResidualAttentionBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn, self.ln_1 = nn.MultiheadAttention(width, 2, batch_first=True), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(ResidualAttentionBlock(width) for _ in range(2)))


class CLIP(nn.Module):
    """Its own parameters come first, its pictures' tower before its texts'."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        visual = self.visual = nn.Module()
        visual.class_embedding = nn.Parameter(torch.zeros(width))
        visual.positional_embedding = nn.Parameter(torch.zeros(5, width))
        visual.proj = nn.Parameter(torch.zeros(width, 6))
        visual.conv1, visual.ln_pre = nn.Conv2d(3, width, 4, 4, bias=False), nn.LayerNorm(width)
        visual.transformer, visual.ln_post = Transformer(width), nn.LayerNorm(width)
        self.transformer = Transformer(width)
        self.token_embedding = nn.Embedding(11, width)
        self.positional_embedding = nn.Parameter(torch.zeros(7, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, 6))
        self.logit_scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        visual = self.visual
        x = visual.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], 1) + visual.positional_embedding
        x = visual.ln_post(visual.transformer.resblocks(visual.ln_pre(x))[:, 0]) @ visual.proj
        y = self.token_embedding(texts) + self.positional_embedding
        y = self.ln_final(self.transformer.resblocks(y)[:, -1]) @ self.text_projection
        return self.logit_scale.exp() * x @ y.T


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self._block = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, width // 2, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self._block(x)


class Stack(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self._layers = nn.ModuleList([Residual(width) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self._layers:
            x = layer(x)
        return x.relu()


class VQVAE(nn.Module):
    def __init__(self, width: int = 8, dim: int = 4) -> None:
        super().__init__()
        encoder = self._encoder = nn.Module()
        encoder._conv_1, encoder._conv_2 = nn.Conv2d(3, 4, 4, 2, 1), nn.Conv2d(4, width, 4, 2, 1)
        encoder._conv_3, encoder._residual_stack = nn.Conv2d(width, width, 3, padding=1), Stack(width)
        self._pre_vq_conv = nn.Conv2d(width, dim, 1)
        self._vq_vae = nn.Module()
        self._vq_vae._embedding = nn.Embedding(16, dim)
        decoder = self._decoder = nn.Module()
        decoder._conv_1, decoder._residual_stack = nn.Conv2d(dim, width, 3, padding=1), Stack(width)
        decoder._conv_trans_1 = nn.ConvTranspose2d(width, 4, 4, 2, 1)
        decoder._conv_trans_2 = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        encoder, decoder, codes = self._encoder, self._decoder, self._vq_vae._embedding.weight
        x = encoder._conv_2(encoder._conv_1(x).relu()).relu()
        x = self._pre_vq_conv(encoder._residual_stack(encoder._conv_3(x))).movedim(1, -1)
        x = codes[((x[..., None, :] - codes) ** 2).sum(-1).argmin(-1)].movedim(-1, 1)
        x = decoder._residual_stack(decoder._conv_1(x))
        return decoder._conv_trans_2(decoder._conv_trans_1(x).relu())


class ActorCritic(nn.Module):
    """The critic is declared first."""

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.critic = self._mlp(hidden, 1)
        self.actor_mean = self._mlp(hidden, 2)
        self.actor_logstd = nn.Parameter(torch.zeros(1, 2))

    @staticmethod
    def _mlp(hidden: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.actor_mean(x), self.actor_logstd.expand(len(x), 2), self.critic(x)], 1)
