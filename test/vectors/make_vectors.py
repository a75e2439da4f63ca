#!/usr/bin/python3
"""Writes the whole-model vectors: what PyTorch computes for four small models, in float64.

Run with any PyTorch >= 1.13 on a CPU: `python3 make_vectors.py`. The format is described in README.md.
Inputs and initial weights are rounded to float32 first, so that a float32 and a float64 run start from equal numbers.
"""
import json
import pathlib

import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
ADAM_STEPS = 20
ADAM_LR = 1e-2


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2)
        self.gn = nn.GroupNorm(4, 16)
        self.fc = nn.Linear(16 * 2 * 2, 5)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn(self.conv1(x))), 2)
        x = nn.functional.silu(self.gn(self.conv2(x)))
        x = nn.functional.avg_pool2d(x, 2, stride=1)
        return self.fc(x.flatten(1))


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 12)
        self.gru = nn.GRU(12, 16, batch_first=True)
        self.fc = nn.Linear(16, 30)

    def forward(self, x):
        states, _ = self.gru(self.embedding(x))
        return self.fc(states[:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.position = nn.Parameter(torch.randn(6, 16) * 0.1)
        self.block = nn.TransformerEncoderLayer(
            16, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 20)

    def forward(self, x):
        steps = x.shape[1]
        mask = torch.triu(torch.ones(steps, steps, dtype=torch.bool), diagonal=1)
        x = self.block(self.embedding(x) + self.position, src_mask=mask)
        return self.head(self.norm(x))


def mlp():
    return nn.Sequential(
        nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 5)
    )


def cases():
    yield "mlp", mlp(), torch.randn(16, 20), torch.randint(5, (16,))
    # maxPool2d's windows have distinct maxima, relu's inputs are away from 0: random float32 values see to that.
    yield "cnn", Cnn(), torch.randn(8, 1, 12, 12), torch.randint(5, (8,))
    yield "gru", Gru(), torch.randint(30, (8, 7)), torch.randint(30, (8,))
    yield "transformer", Transformer(), torch.randint(20, (4, 6)), torch.randint(20, (4, 6))


def cross_entropy(logits, target):
    return nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1))


class Writer:
    """Collects tensors in one file: little-endian float32 or int32 at multiples of 4, or bool as bytes."""

    def __init__(self):
        self.entries = {}
        self.chunks = []
        self.offset = 0

    def add(self, name, tensor):
        if tensor.dtype == torch.bool:
            dtype, code = "bool", "u1"
        elif tensor.is_floating_point():
            dtype, code = "float32", "<f4"
        else:
            dtype, code = "int32", "<i4"
        data = tensor.detach().contiguous().numpy().astype(code).tobytes()
        data += bytes(-len(data) % 4)
        self.entries[name] = {"dtype": dtype, "shape": list(tensor.shape), "offset": self.offset}
        self.chunks.append(data)
        self.offset += len(data)


def make(name, model, x, target):
    for parameter in model.parameters():
        # PyTorch starts some biases at zero; a test should see each of them matter.
        if torch.count_nonzero(parameter) == 0:
            nn.init.uniform_(parameter, -0.2, 0.2)
    model = model.double().train()
    x = x.double() if x.is_floating_point() else x
    writer = Writer()
    writer.add("x", x)
    writer.add("target", target)
    for key, value in model.named_parameters():
        writer.add(f"param/{key}", value)
    logits = model(x)
    loss = cross_entropy(logits, target)
    loss.backward()
    writer.add("logits", logits)
    for key, value in model.named_parameters():
        writer.add(f"grad/{key}", value.grad)
    # The forward pass above has moved the running statistics once; start the training from the initial ones.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    optimizer = torch.optim.Adam(model.parameters(), lr=ADAM_LR)
    losses = []
    for _ in range(ADAM_STEPS):
        optimizer.zero_grad()
        step_loss = cross_entropy(model(x), target)
        step_loss.backward()
        optimizer.step()
        losses.append(step_loss.item())
    for key, value in model.named_buffers():
        writer.add(f"buffer/{key}", value)
    with torch.no_grad():
        losses.append(cross_entropy(model(x), target).item())
    manifest = {
        "model": name,
        "made_with": f"torch {torch.__version__.split('+')[0]}, float64",
        "adam": {"lr": ADAM_LR, "steps": ADAM_STEPS},
        "loss": loss.item(),
        "losses": losses,
        "tensors": writer.entries,
    }
    (HERE / f"{name}.json").write_text(json.dumps(manifest) + "\n")
    (HERE / f"{name}.bin").write_bytes(b"".join(writer.chunks))


def main():
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(20)
    for name, model, x, target in cases():
        make(name, model, x, target)


if __name__ == "__main__":
    main()
