"""The rows of a supernet: blocks, joins and a head whose active part is one network's.

An active part runs in a module of Ultralytics' that has no weights of its own: it lies on torch's
``meta`` device and is lent slices of the shared ones. So whatever Ultralytics can build can be
shared, and computes what Ultralytics' module computes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.func import functional_call
from ultralytics.nn.modules import Detect
from ultralytics.nn.modules.block import RealNVP

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.meta_modules import branch_names, conv_key, head_skeleton, norm_of, skeleton
from yolo_nas_ext.host.supernet.slices import Loan, Unit, Wiring, numbers, taken
from yolo_nas_ext.network.architecture import Head
from yolo_nas_ext.network.roles import REFINED, Convolution, Parts, Role, run_head, total
from yolo_nas_ext.network.rows import Task
from yolo_nas_ext.space.supernet.mixture import Several
from yolo_nas_ext.space.supernet.slots import YOLO26, Wired, run_chain_cached

KEPT = 128  # wirings remembered by each row; the skeletons behind them are shared
NORM = ("weight", "bias", "running_mean", "running_var")


class Elastic(nn.Module):
    """A row with shared weights.

    Attributes:
        slot: Its name.
        units: Shared weights by key.
        sources: Rows that it reads.
        wirings: What is remembered of networks, the latest used last; at most `KEPT`.
    """

    def __init__(self, slot: str, sources: Sequence[int]) -> None:
        super().__init__()
        self.slot = slot
        self.sources = list(sources)
        self.units = nn.ModuleDict()
        self.wirings: OrderedDict[Any, Wiring] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be made again."""
        return {**self.__dict__, "wirings": OrderedDict()}

    def _remembered(self, key: Any, make: Any) -> Wiring:
        if (known := self.wirings.get(key)) is None:
            known = self.wirings[key] = make()
            if len(self.wirings) > KEPT:
                self.wirings.popitem(last=False)
        self.wirings.move_to_end(key)
        return known

    def _add(
        self, key: str, parts: Convolution, modules: Mapping[str, nn.Module], name: str
    ) -> None:
        """Make room for a convolution of a skeleton, in a unit that may exist already."""
        conv = modules[name]
        kernel = _kernel(conv)
        if key in self.units:
            kernel = max(kernel, _kernel(cast(Unit, self.units[key]).conv))
        norm = norm_of(name) in modules
        transposed = isinstance(conv, nn.ConvTranspose2d)
        self.units[key] = Unit(parts, kernel, conv.bias is not None, norm, transposed)

    def lend(
        self, key: str, name: str, active: Convolution, modules: Mapping[str, nn.Module]
    ) -> Iterator[Loan]:
        """Yield what a convolution of a skeleton and its batch norm are lent.

        Raises:
            NASError: For channels that the supernet has no weights for.
        """
        if key not in self.units:
            raise NASError(f"{self.slot}: the supernet has no weights for {key}")
        unit = cast(Unit, self.units[key])
        conv = modules[name]
        outs = numbers(active.outputs, unit.parts.outputs, self.slot)
        ins = None
        if not active.depthwise:
            ins = numbers(active.inputs, unit.parts.inputs, self.slot)
        if (kernel := _kernel(conv)) > _kernel(unit.conv):
            raise NASError(f"{self.slot}: the supernet has no kernel of {kernel}")
        outs_at = int(isinstance(conv, nn.ConvTranspose2d))
        yield Loan(f"{name}.weight", key, "conv.weight", outs, ins, kernel, outs_at)
        if conv.bias is not None:
            yield Loan(f"{name}.bias", key, "conv.bias", outs, None, 0)
        if (norm := norm_of(name)) in modules:
            for tensor in NORM:
                yield Loan(f"{norm}.{tensor}", key, f"bn.{tensor}", outs, None, 0)


@dataclass(frozen=True)
class Mixture:
    """Several things in a slot, added up.

    Attributes:
        several: What they are.
        weights: Of the first ones; None for one that has no part.
        mask: Of shape (channels, 1, 1), the channels that are added up; the first thing alone
            makes the others. All are, unless given.
    """

    several: Several
    weights: Sequence[torch.Tensor | float | None]
    mask: torch.Tensor | None = None


@dataclass(frozen=True)
class Heads:
    """Heads of several networks that read the same levels, whose outputs are added up.

    Attributes:
        heads: What each is, see `ElasticHead.activate`.
        weights: Of the first ones; None for one that has no part.
        rooms: Make-up of what there is to read at each level.
        share: How much of the sum there is; the rest is the first one's output.
    """

    heads: Sequence[tuple[Head, tuple[Parts, ...], bool]]
    weights: Sequence[torch.Tensor | float | None]
    rooms: tuple[Parts, ...]
    share: float = 1.0


class ElasticBlock(Elastic):
    """A slot of a supernet; without blocks it hands on its input.

    Args:
        slot: Its name.
        branches: By name the variants [rows, make-up of the input, convolutions] at their largest;
            see `space.supernet.slots.Variant`.
        sources: Rows that it reads.
    """

    def __init__(
        self, slot: str, branches: Mapping[str, Sequence[Any]], sources: Sequence[int]
    ) -> None:
        super().__init__(slot, sources)
        self.active: Wired | None = None
        self.mixture: Mixture | None = None
        self.task = "detect"  # of the network, which sets the constants of its norms
        for branch, variants in branches.items():
            for rows, inputs, convolutions in variants:
                chain = tuple((n, m, _frozen(args)) for n, m, args in rows)
                made, names = skeleton(chain, total(_frozen(inputs)))
                modules = dict(made.named_modules())
                for name, (ins, outs, depthwise) in zip(names, convolutions, strict=True):
                    parts = Convolution(_frozen(ins), _frozen(outs), depthwise)
                    self._add(f"{branch}|{conv_key(modules, name, chain)}", parts, modules, name)

    def wiring(self, active: Wired) -> Wiring:
        """Return blocks as Ultralytics builds them, and what they are lent."""
        return self._remembered(active, lambda: self._wire(active))

    def _wire(self, active: Wired) -> Wiring:
        chain = active.chain
        made, names = skeleton(chain, total(active.inputs), self.task)
        convolutions, _ = run_chain_cached(chain, active.inputs)
        modules, branch = dict(made.named_modules()), active.branch
        loans = [
            loan
            for name, parts in zip(names, convolutions, strict=True)
            for loan in self.lend(
                f"{branch}|{conv_key(modules, name, chain)}", name, parts, modules
            )
        ]
        return Wiring(made, tuple(loans))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the active blocks, or the mixture."""
        if self.mixture is None:
            return self._run(self.active, x)
        several, mask, added, first = self.mixture.several, self.mixture.mask, None, None
        for index, weight in enumerate(self.mixture.weights):
            if weight is None:
                continue
            read = taken(x, numbers(several.inputs[index], several.room, self.slot), 1)
            y = self._run(several.blocks[index], read)
            y = _placed(y, several.outputs[index], several.out, self.slot)
            first = y if index == 0 else first
            added = weight * y if added is None else added + weight * y
        if mask is not None:
            added = cast(torch.Tensor, first).lerp(cast(torch.Tensor, added), mask)
        return cast(torch.Tensor, added)

    def _run(self, active: Wired | None, x: torch.Tensor) -> torch.Tensor:
        if active is None:
            return x
        wiring = self.wiring(active)
        wiring.skeleton.train(self.training)
        return functional_call(wiring.skeleton, wiring.state(self.units), (x,))


class ElasticJoin(Elastic):
    """A concatenation in the neck, behind up-sampling in the top-down path; or its first input.

    Args:
        slot: Its name.
        up: Whether the first input is up-sampled.
        sources: Rows that it reads.
    """

    def __init__(self, slot: str, up: bool, sources: Sequence[int]) -> None:
        super().__init__(slot, sources)
        self.up = nn.Upsample(None, 2, "nearest") if up else nn.Identity()
        self.active = False

    def forward(self, xs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Join both inputs where the active network has this level."""
        first, second = xs
        return torch.cat((self.up(first), second), 1) if self.active else first


class ElasticHead(Elastic):
    """Ultralytics' head of a task at the levels that the active network reads.

    Attributes named as Ultralytics' (``nc``, ``reg_max``, ``no``, ``nl``, ``stride``,
    ``kpt_shape``, ``one2one_cv2``) are what its loss asks of the active network.

    Args:
        slot: Its name.
        task: See `network.rows.Task`; with one word more where the head is YOLO26's own.
        reg_max: Bins of the box distribution.
        end2end: Whether there is a one-to-one branch.
        levels: Levels that any network reads, one for each source.
        convolutions: [whether of the older head, level, purpose, branch, channels] of all branches.
        sources: Rows that it reads.
    """

    def __init__(
        self,
        slot: str,
        task: Sequence[Any],
        reg_max: int,
        end2end: bool,
        levels: Sequence[int],
        convolutions: Sequence[Any],
        sources: Sequence[int],
    ) -> None:
        super().__init__(slot, sources)
        self.task, yolo26 = Task(*map(_frozen, task[:3])), task[3:] == [YOLO26]
        self.nc, self.kpt_shape = self.task.nc, self.task.keypoints
        self.reg_max, self.end2end = reg_max, end2end
        self.one2one_cv2 = end2end or None
        self.no = self.nc + 4 * reg_max
        self.levels = list(levels)
        head = Head(tuple(levels), reg_max, end2end, yolo26)
        if yolo26 and self.task.name == "pose":  # which its loss asks for
            self.flow_model = RealNVP()
        for legacy, level, purpose, branch, own in convolutions:
            at = int(purpose == REFINED)  # of the levels above the finest one
            made = head_skeleton((64,) * (at + 1), legacy, self.task, head)
            modules = dict(made.named_modules())
            names = branch_names(made, purpose, branch, at)
            for index, (name, (ins, outs, depthwise)) in enumerate(zip(names, own, strict=True)):
                parts = Convolution(_frozen(ins), _frozen(outs), depthwise)
                role = ("head", level, purpose, branch)
                self._add(_head_key(legacy, role, index), parts, modules, name)
        self.mixture: Heads | None = None
        self.activate(head, (), False)

    def activate(self, head: Head, inputs: tuple[Parts, ...], legacy: bool) -> None:
        """Read these levels from now on."""
        self.active = (head, inputs, legacy and self.task.name != "classify")
        self.nl = len(head.levels)
        self.stride = torch.tensor([2.0**level for level in head.levels])

    def start_biases(self, imgsz: int, side: float | None = None) -> None:
        """Set the biases of the outputs as Ultralytics does.

        Args:
            imgsz: Image size in pixels for which a class is as rare as an object in a picture.
            side: Strides from its anchor at which a box's side starts; Ultralytics' unless given.
        """
        bins = torch.arange(self.reg_max, dtype=torch.float32)
        for key, unit in self.units.items():
            bias = cast(Any, unit).conv.bias
            if bias is None:
                continue
            _, level, purpose, *_ = key.split("|")
            if purpose == "class":
                bias.data[:] = torch.tensor(5 / self.nc / (imgsz / 2 ** int(level)) ** 2).log()
            elif purpose == "box":
                if side is not None and self.reg_max > 1:
                    bias.data[:] = (-((bins - side) ** 2) / 2).repeat(4)
                else:
                    bias.data[:] = 2.0

    def wiring(self, active: Any = None) -> Wiring:
        """Return a head, the active one unless given, as Ultralytics builds it, and its loans."""
        active = active or self.active
        return self._remembered(active, lambda: self._wire(*active))

    def _wire(self, head: Head, inputs: tuple[Parts, ...], legacy: bool) -> Wiring:
        widths = tuple(total(parts) for parts in inputs)
        made = head_skeleton(widths, legacy, self.task, head)
        cast(Any, made).stride = self.stride
        modules = dict(made.named_modules())
        loans: list[Loan] = []
        for role, own in run_head(head, inputs, legacy, self.task).items():
            _, level, purpose, branch = role
            names = branch_names(made, purpose, branch, head.levels.index(level))
            for index, (name, parts) in enumerate(zip(names, own, strict=True)):
                loans += self.lend(_head_key(legacy, role, index), name, parts, modules)
        return Wiring(made, tuple(loans))

    def forward(self, xs: Sequence[torch.Tensor]) -> Any:
        """Run the head of the active network, or the mixture, as Ultralytics' head of the task."""
        xs = [xs] if isinstance(xs, torch.Tensor) else xs  # of a head that always reads one level
        read = [xs[self.levels.index(level)] for level in self.active[0].levels]
        if self.mixture is None:
            return self._run(self.active, read)
        mixture, found = self.mixture, []
        for active, weight in zip(mixture.heads, mixture.weights, strict=False):
            if weight is not None:
                own = [
                    taken(x, numbers(parts, room, self.slot), 1)
                    for x, parts, room in zip(read, active[1], mixture.rooms, strict=True)
                ]
                found.append((weight, self._run(active, own)))
        return _added(found, mixture.share)

    def _run(self, active: Any, read: list[torch.Tensor]) -> Any:
        wiring = self.wiring(active)
        made: Any = wiring.skeleton
        made.train(self.training)
        if isinstance(made, Detect):
            made.dfl.to(read[0].device)
            made.stride = self.stride.to(read[0].device)
        return functional_call(made, wiring.state(self.units), (read,))

    def decoded(self, preds: Any) -> Any:
        """Return what Ultralytics' validator takes from what `forward` gave in training.

        Returns:
            (images, 4 + classes + more, anchors), or (images, detections, 6 + more) of an
            end-to-end head; of a segmentation with the prototypes; of a classifier the
            probabilities (images, classes).
        """
        if self.task.name == "classify":
            return preds.softmax(1)
        made: Any = self.wiring().skeleton
        made.end2end = self.end2end  # which Ultralytics asks for only where it does without NMS
        own = preds["one2one"] if self.end2end else preds
        try:
            y = made._inference(own)
            y = made.postprocess(y.permute(0, 2, 1)) if self.end2end else y
        finally:
            made.end2end = False  # the skeleton is remembered, and used for `forward` too
        proto = own.get("proto")  # beside the classes of pixels of YOLO26's
        return y if proto is None else (y, proto[0] if isinstance(proto, tuple) else proto)


ROWS: dict[str, type[nn.Module]] = {
    "ElasticBlock": ElasticBlock,
    "ElasticJoin": ElasticJoin,
    "ElasticHead": ElasticHead,
}


def _kernel(module: nn.Module) -> int:
    """Return the kernel size in pixels; 0 of a linear layer."""
    size: Any = getattr(module, "kernel_size", (0,))
    return size[0]


def _head_key(legacy: bool, role: Role, index: int) -> str:
    kind = "old" if legacy and role[2] == "class" else "new"  # boxes have the same branches
    return "|".join(map(str, (kind, *role[1:], index)))


def _added(found: Sequence[tuple[Any, Any]], share: float) -> Any:
    """Return outputs of heads added up by their weights, name by name; see `Heads`."""
    first = found[0][1]
    if isinstance(first, Mapping):
        return {
            name: value  # what the heads read, of which Ultralytics takes the sizes
            if name == "feats"
            else _added([(weight, own[name]) for weight, own in found], share)
            for name, value in first.items()
        }
    if isinstance(first, tuple):
        return tuple(
            _added([(weight, own[at]) for weight, own in found], share) for at in range(len(first))
        )
    added = sum(weight * own for weight, own in found)
    return first + share * (added - first) if share < 1 else added


def _placed(x: torch.Tensor, own: Parts, room: Parts, slot: str) -> torch.Tensor:
    """Return an activation with zeros for the channels of the room that it has not."""
    which = numbers(own, room, slot)
    if isinstance(which, int):
        missing = total(room) - which
        return nn.functional.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x
    empty = x.new_zeros(x.shape[0], total(room), *x.shape[2:])
    return empty.index_copy(1, which.to(x.device), x)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value
