"""The models of bench/reference.bench.ts in PyTorch, and a matrix product in NumPy, on the same number of threads.

Reads one name a line, runs that step once, answers with its time in nanoseconds. Not a test: numbers are not compared.
"""

import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 10


def conv_block(inputs, outputs, stride):
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = conv_block(inputs, outputs, stride)
        self.second = conv_block(outputs, outputs, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.short = None
        if stride != 1 or inputs != outputs:
            self.short = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x):
        y = F.relu(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        return F.relu(y + (x if self.short is None else self.short(x)))


def resnet20():
    layers = [conv_block(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU()]
    width = 16
    for outputs in (16, 32, 64):
        for index in range(3):
            stride = 2 if index == 0 and outputs != 16 else 1
            layers.append(Residual(width, outputs, stride))
            width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.packed = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):
        batch, steps, width = x.shape
        packed = self.packed(self.norms[0](x))
        q, k, v = packed.view(batch, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, steps, width))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


def transformer(width=128, layers=4, heads=4):
    blocks = [Block(width, heads) for _ in range(layers)]
    return nn.Sequential(*blocks, nn.LayerNorm(width), nn.Linear(width, CLASSES))


def mlp():
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CLASSES)
    )


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, CLASSES),
    )


def train_step(model, x):
    """Loss and all gradients, as one unit of a worker computes them."""
    rows = x.shape[0] * x.shape[1] if x.dim() == 3 else x.shape[0]
    target = torch.arange(rows) * 7 % CLASSES

    def step():
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(x).reshape(rows, CLASSES), target).backward()

    return step


def products():
    a = np.full((1024, 1024), 0.5, dtype=np.float32)
    b = np.full((1024, 1024), 0.25, dtype=np.float32)
    return lambda: a @ b


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(1)
    steps = {
        "sgemm": products(),
        "mlp": train_step(mlp(), torch.randn(128, 784)),
        "cnn": train_step(cnn(), torch.randn(64, 1, 28, 28)),
        "resnet20": train_step(resnet20(), torch.randn(32, 3, 32, 32)),
        "transformer": train_step(transformer(), torch.randn(8, 128, 128)),
    }
    print(f"ready PyTorch {torch.__version__}, NumPy {np.__version__}", flush=True)
    for line in sys.stdin:
        start = time.perf_counter_ns()
        steps[line.strip()]()
        print(time.perf_counter_ns() - start, flush=True)


main()
