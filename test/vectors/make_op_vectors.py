#!/usr/bin/python3
"""Writes ops.json and ops.bin: what PyTorch computes for single ops of the table, in float64.

Run with any PyTorch >= 1.13 on a CPU: `python3 make_op_vectors.py`. The format is described in README.md.
Ops that move elements are computed by PyTorch's own functions, too, not by the definitions of the table.
"""
import json

import torch
from make_vectors import HERE, Writer
from torch.nn import functional as F


def unit(*shape, low=-2.0, high=2.0):
    return (torch.rand(*shape) * (high - low) + low).float()


def ints(*shape, low=0, high=5):
    return torch.randint(low, high, shape, dtype=torch.int32)


def pad_window(x, padding, value=0.0):
    """Uneven padding [top, left, bottom, right], which torch's convolutions do not take."""
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def elementwise():
    x = unit(2, 5)
    unary = {
        "neg": torch.neg,
        "abs": torch.abs,
        "sign": torch.sign,
        "floor": torch.floor,
        "exp": torch.exp,
        "sin": torch.sin,
        "cos": torch.cos,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "erf": torch.erf,
        "relu": torch.relu,
    }
    for op, f in unary.items():
        yield op, {}, [x], f
    # Both branches of the oracle's erf, and its far tail.
    yield "erf", {}, [torch.tensor([-30.0, -6, -3.1, -2.9, -0.1, 0, 1e-4, 1, 2.99, 3.01, 5, 9])], torch.erf
    positive = unit(6, low=0.1, high=4)
    for op, f in {"log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt}.items():
        yield op, {}, [positive], f
    yield "clip", {"min": -0.5, "max": 1.0}, [x], lambda a: torch.clamp(a, -0.5, 1.0)
    a, b = unit(2, 1, 3), unit(4, 1)
    for op, f in {
        "add": torch.add,
        "sub": torch.sub,
        "mul": torch.mul,
        "div": torch.div,
        "maximum": torch.maximum,
        "minimum": torch.minimum,
    }.items():
        yield op, {}, [a, b], f
    yield "pow", {}, [unit(2, 3, low=0.2), unit(3)], torch.pow
    c, d = ints(3, 4), ints(4)
    for op, f in {
        "equal": torch.eq,
        "notEqual": torch.ne,
        "less": torch.lt,
        "lessEqual": torch.le,
        "greater": torch.gt,
        "greaterEqual": torch.ge,
    }.items():
        yield op, {}, [c, d], f
        yield op, {}, [a, b], f
    p, q = ints(2, 3, high=2).bool(), ints(3, high=2).bool()
    yield "logicalAnd", {}, [p, q], torch.logical_and
    yield "logicalOr", {}, [p, q], torch.logical_or
    yield "logicalNot", {}, [p], torch.logical_not
    yield "where", {}, [ints(2, 1, high=2).bool(), unit(3), unit(2, 3)], torch.where
    yield "cast", {"dtype": "int32"}, [unit(6, low=-9, high=9)], lambda v: v.to(torch.int32)
    yield "cast", {"dtype": "bool"}, [ints(6, low=-1, high=2)], lambda v: v.bool()
    yield "cast", {"dtype": "float32"}, [ints(4)], lambda v: v.double()


def linear():
    yield "matMul", {"transposeA": False, "transposeB": False}, [unit(2, 3), unit(3, 4)], torch.matmul
    yield "matMul", {"transposeA": True, "transposeB": False}, [unit(2, 1, 3, 2), unit(4, 3, 2)], (
        lambda a, b: a.mT @ b
    )
    yield "matMul", {"transposeA": False, "transposeB": True}, [unit(2, 3, 4), unit(5, 4)], (
        lambda a, b: a @ b.mT
    )
    yield "matMul", {"transposeA": True, "transposeB": True}, [unit(4, 3), unit(2, 5, 4)], (
        lambda a, b: a.mT @ b.mT
    )
    convs = [
        ([2, 3, 5, 4], [4, 3, 3, 2], [1, 1], [0, 0, 0, 0], [1, 1], 1),
        ([1, 2, 6, 7], [2, 2, 3, 2], [2, 3], [0, 0, 0, 0], [1, 1], 1),
        ([1, 1, 4, 3], [2, 1, 3, 3], [1, 1], [1, 0, 2, 1], [1, 1], 1),
        ([1, 2, 7, 7], [2, 2, 2, 3], [2, 1], [1, 1, 1, 1], [2, 2], 1),
        ([2, 4, 5, 5], [6, 2, 3, 3], [2, 2], [1, 1, 1, 1], [1, 1], 2),
        ([1, 3, 5, 5], [3, 1, 3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 3),
    ]
    for x_shape, w_shape, stride, padding, dilation, groups in convs:
        params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

        def conv(x, w, p=padding, s=stride, d=dilation, g=groups):
            return F.conv2d(pad_window(x, p), w, stride=s, dilation=d, groups=g)

        x, w = unit(*x_shape), unit(*w_shape)
        yield "conv2d", params, [x, w], conv
        dy = unit(*conv(x.double(), w.double()).shape)

        def grad(which, x=x, w=w, conv=conv):
            def f(a, b):
                operands = [x.double().requires_grad_(), w.double().requires_grad_()]
                operands[1 - which] = (b if which == 0 else a).detach()
                y = conv(*operands)
                return torch.autograd.grad(y, operands[which], a if which == 0 else b)[0]

            return f

        yield "conv2dGradInput", {**params, "inputSize": x_shape[2:]}, [dy, w], grad(0)
        yield "conv2dGradWeight", {**params, "kernelSize": w_shape[2:]}, [x, dy], grad(1)
    for kernel, stride, padding in [
        ([2, 2], [2, 2], [0, 0, 0, 0]),
        ([3, 3], [2, 2], [1, 1, 1, 1]),
        ([2, 3], [1, 2], [1, 0, 0, 1]),
    ]:
        params = {"kernel": kernel, "stride": stride, "padding": padding}

        def maximum(x, k=kernel, s=stride, p=padding):
            return F.max_pool2d(pad_window(x, p, -torch.inf), k, s)

        def average(x, k=kernel, s=stride, p=padding):
            return F.avg_pool2d(pad_window(x, p), k, s)

        # All values negative: a pool that starts its maximum at zero would be found out.
        x = unit(1, 2, 5, 6, low=-5, high=-1)
        yield "maxPool2d", params, [x], maximum
        yield "avgPool2d", params, [x], average
        dy = unit(*maximum(x).shape)

        def back(f):
            def gradient(value, g):
                value = value.detach().requires_grad_()
                return torch.autograd.grad(f(value), value, g)[0]

            return gradient

        yield "maxPool2dGrad", params, [x, dy], back(maximum)
        size = {**params, "inputSize": [5, 6]}
        yield "avgPool2dGrad", size, [dy], lambda g, f=back(average), x=x: f(x.double(), g)


def reductions():
    x = unit(2, 3, 4)
    for axes, keep in [([1], False), ([0, 2], True), ([0, 1, 2], False)]:
        p = {"axes": axes, "keepDims": keep}
        count = 5
        yield "sum", p, [x], lambda v, a=axes, k=keep: v.sum(a, keepdim=k)
        yield "sum", p, [ints(2, 3, 4)], lambda v, a=axes, k=keep: v.sum(a, keepdim=k).int()
        yield "mean", {**p, "count": count}, [x], lambda v, a=axes, k=keep: v.sum(a, keepdim=k) / 5
        size = torch.zeros(2, 3, 4).sum(axes).numel()
        size = 24 // size
        yield "variance", {**p, "count": count}, [x], (
            lambda v, a=axes, k=keep, n=size: v.var(a, unbiased=False, keepdim=k) * n / 5
        )
        yield "reduceMax", p, [x], lambda v, a=axes, k=keep: v.amax(a, keepdim=k)
        yield "reduceMin", p, [x], lambda v, a=axes, k=keep: v.amin(a, keepdim=k)
    yield "argMax", {"axis": 1}, [x], lambda v: v.argmax(1).int()
    for exclusive, reverse in [(False, False), (True, False), (False, True), (True, True)]:

        def cumsum(v, e=exclusive, r=reverse):
            v = v.flip(1) if r else v
            y = v.cumsum(1) - (v if e else 0)
            return y.flip(1) if r else y

        yield "cumsum", {"axis": 1, "exclusive": exclusive, "reverse": reverse}, [x], cumsum
    for axis in (0, 2):
        yield "softmax", {"axis": axis}, [x * 30], lambda v, a=axis: v.softmax(a)
        yield "logSoftmax", {"axis": axis}, [x * 30], lambda v, a=axis: v.log_softmax(a)

    def normal(v, axes, eps=1e-3):
        mean = v.mean(axes, keepdim=True)
        return (v - mean) / torch.sqrt(v.var(axes, unbiased=False, keepdim=True) + eps)

    for axes in ([2], [0, 2]):
        p = {"axes": axes, "epsilon": 1e-3}
        yield "normalize", p, [x], lambda v, a=axes: normal(v, a)

        def back(v, g, a=axes):
            v = v.detach().requires_grad_()
            return torch.autograd.grad(normal(v, a), v, g)[0]

        yield "normalizeGrad", p, [x, unit(2, 3, 4)], back


def layout():
    x = unit(2, 3, 4)
    yield "reshape", {"shape": [4, 6]}, [x], lambda v: v.reshape(4, 6)
    yield "transpose", {"perm": [2, 0, 1]}, [x], lambda v: v.permute(2, 0, 1)
    yield "broadcastTo", {"shape": [2, 3, 4]}, [unit(3, 1)], lambda v: v.expand(2, 3, 4)
    yield "concat", {"axis": 1}, [unit(2, 1, 2), unit(2, 3, 2), unit(2, 2, 2)], (
        lambda *v: torch.cat(v, 1)
    )
    yield "slice", {"begin": [0, 1, 0], "end": [2, 3, 4], "step": [1, 1, 3]}, [x], (
        lambda v: v[0:2, 1:3, 0:4:3]
    )
    yield "pad", {"before": [0, 1, 2], "after": [1, 0, 0], "value": 0.5}, [x], (
        lambda v: F.pad(v, (2, 0, 1, 0, 0, 1), value=0.5)
    )
    yield "tile", {"repeats": [2, 1, 3]}, [x], lambda v: v.tile(2, 1, 3)
    yield "reverse", {"axes": [0, 2]}, [x], lambda v: v.flip([0, 2])
    index = ints(2, 2, high=3)
    yield "gather", {"axis": 1}, [x, index], (
        lambda v, i: v.index_select(1, i.long().flatten()).reshape(2, 2, 2, 4)
    )
    yield "gather", {"axis": 0}, [unit(3, 2), ints(4, high=3)], lambda v, i: v[i.long()]
    yield "scatterAdd", {"size": 3}, [ints(5, high=3), unit(5, 2)], (
        lambda i, u: torch.zeros(3, 2, dtype=torch.float64).index_add(0, i.long(), u)
    )
    yield "oneHot", {"depth": 5}, [ints(2, 3)], lambda i: F.one_hot(i.long(), 5).double()
    yield "full", {"shape": [2, 2], "dtype": "float32", "value": 1.5}, [], (
        lambda: torch.full((2, 2), 1.5, dtype=torch.float64)
    )
    yield "iota", {"shape": [2, 3], "axis": 1}, [], (
        lambda: torch.arange(3, dtype=torch.int32).expand(2, 3)
    )


def main():
    torch.manual_seed(21)
    writer = Writer()
    cases = []
    for family in (elementwise, linear, reductions, layout):
        for op, params, inputs, f in family():
            index = len(cases)
            names = [f"{index}/in{k}" for k in range(len(inputs))]
            for name, tensor in zip(names, inputs):
                writer.add(name, tensor)
            wide = [v.double() if v.is_floating_point() else v for v in inputs]
            writer.add(f"{index}/out", f(*wide))
            cases.append({"op": op, "params": params, "inputs": names, "output": f"{index}/out"})
    manifest = {
        "made_with": f"torch {torch.__version__.split('+')[0]}, float64",
        "cases": cases,
        "tensors": writer.entries,
    }
    (HERE / "ops.json").write_text(json.dumps(manifest) + "\n")
    (HERE / "ops.bin").write_bytes(b"".join(writer.chunks))


if __name__ == "__main__":
    main()
