"""Backbones of timm as layers: built without numbers, run on an image without numbers.

Nothing is computed and no weight is allocated, so that it takes some 50 ms. The operations are
recorded as torch runs them, with the parameters that each of them reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import thop
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from ultralytics.utils import ONLINE

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.plugin.modules import Timm, backbone
from yolo_nas_ext.network.graph import Tensor
from yolo_nas_ext.network.timm_backbones import Features, Step, Trace

RELU = {"relu", "hardtanh", "clamp"}
ACTS = {
    "silu",
    "hardswish",
    "hardsigmoid",
    "gelu",
    "sigmoid",
    "leaky_relu",
    "elu",
    "mish",
    "tanh",
    "softplus",
    "_prelu_kernel",
}
MATMULS = {"mm", "bmm", "addmm", "baddbmm", "_scaled_dot_product_flash_attention_for_cpu"}
KINDS = {"add": "add", "cat": "concat", "mul": "scale", "mean": "average"}
KINDS |= dict.fromkeys(RELU, "relu") | dict.fromkeys(ACTS, "act") | dict.fromkeys(MATMULS, "matmul")


def features(name: str) -> Features:
    """Return what a backbone offers; see `network.timm_backbones.Library`."""
    with torch.device("meta"):
        info = backbone(name, 3).feature_info
    strides = [int(r) if r == int(r) else 0 for r in info.reduction()]
    levels = [s.bit_length() - 1 if s > 1 and s & (s - 1) == 0 else 0 for s in strides]
    if not any(levels):
        raise NASError(f"timm/{name} has no features whose stride is a power of two")
    return Features(tuple(levels), tuple(info.channels()))


def trace(name: str, indices: tuple[int, ...], channels: int, imgsz: int) -> Trace:
    """Return the forward pass to some features; see `network.timm_backbones.Library`.

    Parameters and multiply-adds sum to Ultralytics' own counts. A last step, which keeps the
    features alive, has what its counter adds without an operation here.
    """
    with torch.device("meta"):
        model = Timm(channels, name, False, indices).eval()
        image = torch.zeros(1, channels, imgsz, imgsz)
    recorder = _Recorder(image, model)
    try:
        with torch.no_grad(), recorder:
            outputs = model(image)
        ops = thop.profile(model, inputs=[image], verbose=False)[0]
    except Exception as error:  # whatever a model that was made for another size runs into
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise NASError(
            f"timm/{name} cannot be run on images of {imgsz} px ({reason}); leave it out of the "
            "space, or give another imgsz"
        ) from error
    params = sum(p.numel() for p in model.parameters())
    found = tuple(recorder.tensor(y) for y in outputs)
    steps = _in_place(recorder.steps, {0, *(t.id for t in found)})
    rest = Step(
        "dormant",
        found,
        found[-1],
        params=params - sum(s.params for s in steps),
        ops=int(ops) - sum(s.ops for s in steps),
    )
    return Trace((*steps, rest), found)


def random_weights(options: Sequence[str]) -> list[str]:
    """Return the pretrained backbones whose weights cannot be downloaded: all, offline."""
    return [] if ONLINE else list(options)


class _Recorder(TorchDispatchMode):
    """Records what is done to activations, which are known by their storages."""

    def __init__(self, image: torch.Tensor, model: torch.nn.Module) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self._numbers = {_storage(image): 0}
        self._weights = {_storage(p): p.numel() for p in model.parameters()}
        self._kept: list[Any] = [image]  # or a storage's address would be used again

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and record it if it reads an activation."""
        out = func(*args, **(kwargs or {}))
        given = list(_tensors([args, kwargs or {}]))
        reads = [t for t in given if _storage(t) in self._numbers]
        made = next(_tensors([out]), None)
        if not reads or made is None:
            return out
        self._kept.append(out)
        name = func.overloadpacket.__name__
        writes = name.endswith("_")
        if _storage(made) in self._numbers and not writes:  # a view
            return out
        numbers = [self.tensor(t) for t in reads]
        self._numbers.setdefault(_storage(made), len(self._kept))
        params = sum(self._weights.pop(_storage(t), 0) for t in given)
        self.steps.append(_step(name.rstrip("_"), args, numbers, self.tensor(made), given, params))
        return out

    def tensor(self, x: torch.Tensor) -> Tensor:
        """Return an activation's number and size; a row of tokens is taken for one of pixels."""
        shape = tuple(x.shape[1:])
        if len(shape) == 3:
            c, h, w = shape
        elif len(shape) == 2:
            (h, c), w = shape, 1
        else:
            c, h, w = math.prod(shape), 1, 1
        return Tensor(self._numbers[_storage(x)], c, h, w)


def _step(
    name: str, args: Any, reads: list[Tensor], made: Tensor, given: list[torch.Tensor], params: int
) -> Step:
    """Return an operation of torch as a step."""
    fields: dict[str, Any] = {"params": params, "name": name}
    if name == "convolution":
        weight = given[1]
        stride, pad, dilation = (set(args[i]) for i in (3, 4, 5))
        kernel = set(weight.shape[2:])
        plain = all(len(v) == 1 for v in (stride, pad, kernel)) and dilation == {1}
        return Step(
            "conv",
            tuple(reads[:1]),
            made,
            max(kernel),
            max(stride),
            args[8],
            max(pad),
            ops=made.size * weight[0].numel(),
            plain=plain and not args[6],
            **fields,
        )
    if name.endswith("batch_norm") or name.endswith("_norm"):
        affine = 2 if params else 1
        return Step(
            "norm",
            tuple(reads[:1]),
            made,
            ops=2 * affine * reads[0].size,
            plain=name == "native_batch_norm",
            **fields,
        )
    if name in ("max_pool2d_with_indices", "avg_pool2d"):
        kernel, stride, pad = (_side(args, i, d) for i, d in ((1, 1), (2, None), (3, 0)))
        stride = kernel if stride is None else stride
        return Step("pool", tuple(reads), made, kernel, stride, pad=pad, **fields)
    kind = KINDS.get(name, "other")
    if kind == "scale" and not (len(reads) == 2 and min(t.h * t.w for t in reads) == 1):
        kind = "other"
    if kind == "scale":
        reads = sorted(reads, key=lambda t: -t.h * t.w)
    if kind == "average" and made.h * made.w != 1:
        kind = "other"
    if kind == "add" and len(reads) < 2:
        kind = "other"
    if name in ("mm", "addmm"):  # products of activations are not counted
        fields["ops"] = made.size * reads[0].c if len(reads) == 1 else 0
    return Step(kind, tuple(reads), made, plain=kind not in ("other", "matmul"), **fields)


def _side(args: Any, index: int, default: Any) -> Any:
    """Return an argument of a pooling as one number."""
    value = args[index] if len(args) > index else default
    return (value[0] if value else default) if isinstance(value, (list, tuple)) else value


def _in_place(steps: Sequence[Step], kept: set[int]) -> list[Step]:
    """Return the steps with norms and activations in place where nothing reads their input again.

    That is how the layer table has them for blocks.
    """
    last = {t.id: index for index, step in enumerate(steps) for t in step.reads}
    into: dict[int, int] = {}
    found = []
    for index, step in enumerate(steps):
        reads = tuple(t._replace(id=into.get(t.id, t.id)) for t in step.reads)
        (first, *_), writes = step.reads, step.writes
        if (
            step.op in ("norm", "act", "relu")
            and last[first.id] == index
            and writes.id not in kept
            and first.id not in kept
            and writes.id != first.id
        ):
            into[writes.id] = reads[0].id
        writes = writes._replace(id=into.get(writes.id, writes.id))
        found.append(step._replace(reads=reads, writes=writes))
    return found


def _storage(x: torch.Tensor) -> int:
    return x.untyped_storage()._cdata


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in nested lists."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
