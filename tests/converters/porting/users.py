"""Modules as users write them, each with the inputs that it takes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class DoubleConv(nn.Module):
    """(convolution => BN => ReLU) * 2"""

    def __init__(self, in_channels, out_channels, mid_channels=None):
        super().__init__()
        mid_channels = mid_channels or out_channels
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(in_channels, out_channels))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
        self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, x1, x2):
        x1 = self.up(x1)
        diff_y = x2.size()[2] - x1.size()[2]
        diff_x = x2.size()[3] - x1.size()[3]
        x1 = F.pad(x1, [diff_x // 2, diff_x - diff_x // 2, diff_y // 2, diff_y - diff_y // 2])
        return self.conv(torch.cat([x2, x1], dim=1))


class UNet(nn.Module):
    def __init__(self, n_channels=3, n_classes=2, width=4):
        super().__init__()
        self.inc = DoubleConv(n_channels, width)
        self.down1 = Down(width, width * 2)
        self.down2 = Down(width * 2, width * 4)
        self.up1 = Up(width * 4, width * 2)
        self.up2 = Up(width * 2, width)
        self.outc = nn.Conv2d(width, n_classes, kernel_size=1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x = self.up1(x3, x2)
        x = self.up2(x, x1)
        return self.outc(x)


class Generator(nn.Module):
    """DCGAN's."""

    def __init__(self, nz=8, ngf=4, nc=3):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 4),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(ngf * 2, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input):
        return self.main(input)


class LSTMTagger(nn.Module):
    def __init__(self, embedding_dim=6, hidden_dim=5, vocab_size=11, tagset_size=4):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.hidden2tag = nn.Linear(2 * hidden_dim, tagset_size)

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        lstm_out, _ = self.lstm(embeds)
        tag_space = self.hidden2tag(lstm_out)
        return F.log_softmax(tag_space, dim=-1)


class Encoder(nn.Module):
    def __init__(self, vocab, hidden, dropout):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input):
        embedded = self.dropout(self.embedding(input))
        output, hidden = self.gru(embedded)
        return output, hidden


class BahdanauAttention(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.Wa = nn.Linear(hidden, hidden)
        self.Ua = nn.Linear(hidden, hidden)
        self.Va = nn.Linear(hidden, 1)

    def forward(self, query, keys):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys)))
        scores = scores.squeeze(2).unsqueeze(1)
        weights = F.softmax(scores, dim=-1)
        context = torch.bmm(weights, keys)
        return context, weights


class Seq2Seq(nn.Module):
    """Teacher-forced, with attention over the encoder's outputs."""

    def __init__(self, vocab=11, hidden=6, steps=3, dropout=0.1):
        super().__init__()
        self.steps = steps
        self.encoder = Encoder(vocab, hidden, dropout)
        self.embedding = nn.Embedding(vocab, hidden)
        self.attention = BahdanauAttention(hidden)
        self.cell = nn.GRUCell(2 * hidden, hidden)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, source, target):
        outputs, hidden = self.encoder(source)
        hidden = hidden[0]
        logits = []
        for step in range(self.steps):
            embedded = self.embedding(target[:, step])
            context, _ = self.attention(hidden.unsqueeze(1), outputs)
            hidden = self.cell(torch.cat((embedded, context.squeeze(1)), dim=1), hidden)
            logits.append(self.out(hidden))
        return torch.stack(logits, dim=1)


class VectorQuantizer(nn.Module):
    def __init__(self, num_embeddings, embedding_dim):
        super().__init__()
        self.embedding_dim = embedding_dim
        self.embedding = nn.Embedding(num_embeddings, embedding_dim)

    def forward(self, inputs):
        inputs = inputs.permute(0, 2, 3, 1).contiguous()
        flat = inputs.view(-1, self.embedding_dim)
        distances = (
            torch.sum(flat**2, dim=1, keepdim=True)
            + torch.sum(self.embedding.weight**2, dim=1)
            - 2 * torch.matmul(flat, self.embedding.weight.t())
        )
        indices = torch.argmin(distances, dim=1).unsqueeze(1)
        encodings = torch.zeros(indices.shape[0], self.embedding.num_embeddings, device=inputs.device)
        encodings.scatter_(1, indices, 1)
        quantized = torch.matmul(encodings, self.embedding.weight).view(inputs.shape)
        loss = F.mse_loss(quantized.detach(), inputs)
        quantized = inputs + (quantized - inputs).detach()
        return loss, quantized.permute(0, 3, 1, 2).contiguous()


class VQVAE(nn.Module):
    def __init__(self, width=4, codes=7):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 4, 2, 1)
        )
        self.quantizer = VectorQuantizer(codes, width)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1)
        )

    def forward(self, x):
        z = self.encoder(x)
        loss, quantized = self.quantizer(z)
        return loss, self.decoder(quantized)


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        stdv = 1.0 / math.sqrt(out_features)
        self.weight.data.uniform_(-stdv, stdv)
        self.bias.data.uniform_(-stdv, stdv)

    def forward(self, input, adj):
        support = torch.mm(input, self.weight)
        return torch.mm(adj, support) + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat=5, nhid=6, nclass=3, dropout=0.5):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        x = self.gc2(x, adj)
        return F.log_softmax(x, dim=1)


class NeRF(nn.Module):
    def __init__(self, width=16, depth=4, frequencies=3):
        super().__init__()
        self.frequencies = frequencies
        channels = 3 + 6 * frequencies
        self.skips = [2]
        self.pts_linears = nn.ModuleList(
            [nn.Linear(channels, width)]
            + [nn.Linear(width + (channels if i in self.skips else 0), width) for i in range(1, depth)]
        )
        self.alpha_linear = nn.Linear(width, 1)
        self.rgb_linear = nn.Linear(width, 3)

    def embed(self, x):
        parts = [x]
        for i in range(self.frequencies):
            parts += [torch.sin(2.0**i * x), torch.cos(2.0**i * x)]
        return torch.cat(parts, -1)

    def forward(self, x):
        input_pts = self.embed(x)
        h = input_pts
        for i, layer in enumerate(self.pts_linears):
            if i in self.skips:
                h = torch.cat([input_pts, h], -1)
            h = F.relu(layer(h))
        alpha = self.alpha_linear(h)
        rgb = torch.sigmoid(self.rgb_linear(h))
        return torch.cat([rgb, alpha], -1)


class DetectorHead(nn.Module):
    """RetinaNet's heads over a list of feature maps."""

    def __init__(self, channels=8, anchors=3, classes=4):
        super().__init__()
        self.num_classes = classes
        self.conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(2, channels),
            nn.ReLU(),
        )
        self.cls_logits = nn.Conv2d(channels, anchors * classes, 3, padding=1)
        self.bbox_reg = nn.Conv2d(channels, anchors * 4, 3, padding=1)

    def forward(self, features):
        all_logits, all_boxes = [], []
        for feature in features:
            x = self.conv(feature)
            logits = self.cls_logits(x)
            n, _, h, w = logits.shape
            logits = logits.view(n, -1, self.num_classes, h, w).permute(0, 3, 4, 1, 2)
            all_logits.append(logits.reshape(n, -1, self.num_classes))
            boxes = self.bbox_reg(x)
            boxes = boxes.view(n, -1, 4, h, w).permute(0, 3, 4, 1, 2)
            all_boxes.append(boxes.reshape(n, -1, 4))
        return {"cls_logits": torch.cat(all_logits, dim=1), "bbox_regression": torch.cat(all_boxes, dim=1)}


class ActorCritic(nn.Module):
    """Nature's network on frames of bytes."""

    def __init__(self, actions=6):
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(4, 8, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(8, 8, 4, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 3 * 3, 16),
            nn.ReLU(),
        )
        self.actor = nn.Linear(16, actions)
        self.critic = nn.Linear(16, 1)

    def forward(self, x):
        hidden = self.network(x / 255.0)
        return F.softmax(self.actor(hidden), dim=-1), self.critic(hidden).squeeze(-1)


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, time):
        half_dim = self.dim // 2
        embeddings = math.log(10000) / (half_dim - 1)
        embeddings = torch.exp(torch.arange(half_dim, device=time.device) * -embeddings)
        embeddings = time[:, None] * embeddings[None, :]
        return torch.cat((embeddings.sin(), embeddings.cos()), dim=-1)


class ResnetBlock(nn.Module):
    def __init__(self, dim, dim_out, time_emb_dim, groups=2):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_emb_dim, dim_out * 2))
        self.proj1 = nn.Conv2d(dim, dim_out, 3, padding=1)
        self.norm1 = nn.GroupNorm(groups, dim_out)
        self.act = nn.SiLU()
        self.proj2 = nn.Conv2d(dim_out, dim_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, dim_out)
        self.res_conv = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(self, x, time_emb):
        scale, shift = self.mlp(time_emb)[:, :, None, None].chunk(2, dim=1)
        h = self.norm1(self.proj1(x))
        h = self.act(h * (scale + 1) + shift)
        h = self.act(self.norm2(self.proj2(h)))
        return h + self.res_conv(x)


class LinearAttention(nn.Module):
    def __init__(self, dim, heads=2, dim_head=4):
        super().__init__()
        self.scale = dim_head**-0.5
        self.heads = heads
        self.to_qkv = nn.Conv2d(dim, dim_head * heads * 3, 1, bias=False)
        self.to_out = nn.Conv2d(dim_head * heads, dim, 1)

    def forward(self, x):
        b, _, h, w = x.shape
        qkv = self.to_qkv(x).chunk(3, dim=1)
        q, k, v = (t.reshape(b, self.heads, -1, h * w) for t in qkv)
        q = q.softmax(dim=-2) * self.scale
        k = k.softmax(dim=-1)
        context = torch.einsum("b h d n, b h e n -> b h d e", k, v)
        out = torch.einsum("b h d e, b h d n -> b h e n", context, q)
        return self.to_out(out.reshape(b, -1, h, w)) + x


class DiffusionUNet(nn.Module):
    def __init__(self, dim=4, channels=3):
        super().__init__()
        self.time_mlp = nn.Sequential(
            SinusoidalPosEmb(dim), nn.Linear(dim, dim * 4), nn.GELU(), nn.Linear(dim * 4, dim * 4)
        )
        self.init_conv = nn.Conv2d(channels, dim, 7, padding=3)
        self.down = ResnetBlock(dim, dim * 2, dim * 4)
        self.downsample = nn.Conv2d(dim * 2, dim * 2, 4, 2, 1)
        self.mid = ResnetBlock(dim * 2, dim * 2, dim * 4)
        self.mid_attn = LinearAttention(dim * 2)
        self.upsample = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(dim * 2, dim * 2, 3, padding=1)
        )
        self.up = ResnetBlock(dim * 4, dim, dim * 4)
        self.final_conv = nn.Conv2d(dim, channels, 1)

    def forward(self, x, time):
        t = self.time_mlp(time)
        x = self.init_conv(x)
        x = self.down(x, t)
        skip = x
        x = self.downsample(x)
        x = self.mid(x, t)
        x = self.mid_attn(x)
        x = self.upsample(x)
        x = torch.cat((x, skip), dim=1)
        x = self.up(x, t)
        return self.final_conv(x)


def _ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, 11, shape)


Made = tuple[nn.Module, Sequence[Any]]
MODULES: dict[str, Callable[[], Made]] = {
    "unet": lambda: (UNet(), [torch.randn(2, 3, 16, 24)]),
    "dcgan": lambda: (Generator(), [torch.randn(3, 8, 1, 1)]),
    "lstm tagger": lambda: (LSTMTagger(), [_ids(2, 7)]),
    "seq2seq": lambda: (Seq2Seq(), [_ids(2, 7), _ids(2, 3)]),
    "vq-vae": lambda: (VQVAE(), [torch.randn(2, 3, 16, 24)]),
    "gcn": lambda: (GCN(), [torch.randn(8, 5), (torch.rand(8, 8) < 0.4) / 3.0]),
    "nerf": lambda: (NeRF(), [torch.randn(2, 6, 3)]),
    "detector head": lambda: (DetectorHead(), [[torch.randn(2, 8, 8, 12), torch.randn(2, 8, 4, 6)]]),
    "actor-critic": lambda: (ActorCritic(), [torch.randint(0, 256, (2, 4, 36, 36)).float()]),
    "diffusion": lambda: (DiffusionUNet(), [torch.randn(2, 3, 8, 16), torch.tensor([3.0, 70.0])]),
}
