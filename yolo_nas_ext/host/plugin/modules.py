"""Modules that Ultralytics has not: MBConv with squeeze and excitation, and backbones of timm.

A model definition that names one of them needs this package wherever it is built or its weights are
loaded. Both rest on timm, which is imported when one is built.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules import Conv
from ultralytics.utils import LOGGER, ONLINE

from yolo_nas_ext.errors import NASError, did_you_mean

# What makes a backbone of timm take images of any size, in the order in which it is tried.
SIZING: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True})
TRIED = ((64, 96), (160, 160))  # heights and widths


class Inverted(nn.Module):
    """An inverted bottleneck: expanded, filtered by depth, gated by its channels, projected.

    Args:
        c1: Input channels; the gate squeezes to a quarter of them.
        c2: Output channels.
        k: Kernel size of the depthwise convolution.
        s: Its stride.
        hidden: Channels between.
    """

    def __init__(self, c1: int, c2: int, k: int, s: int, hidden: int) -> None:
        from timm.layers.squeeze_excite import SqueezeExcite

        super().__init__()
        self.expand = Conv(c1, hidden, 1)
        self.depth = Conv(hidden, hidden, k, s, g=hidden)
        self.gate = SqueezeExcite(hidden, rd_channels=max(1, c1 // 4), act_layer=nn.SiLU)
        self.project = Conv(hidden, c2, 1, act=False)
        self.add = s == 1 and c1 == c2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return n x c2 x h / s x w / s of n x c1 x h x w."""
        y = self.project(self.gate(self.depth(self.expand(x))))
        return x + y if self.add else y


class MBConv(nn.Module):
    """A stage of EfficientNet (Tan & Le 2019, arXiv:1905.11946): repeated inverted bottlenecks.

    It is made of Ultralytics' convolutions, which are folded when a model is fused, and timm's
    squeeze and excitation. Unlike the paper's, the bottleneck has a number of channels of its own,
    not a multiple of the input's.

    Args:
        c1: Input channels.
        c2: Output channels.
        n: Repeats; the first has the stride.
        k: Kernel size.
        s: Stride.
        hidden: Channels of the bottleneck.
    """

    def __init__(self, c1: int, c2: int, n: int, k: int, s: int, hidden: int) -> None:
        super().__init__()
        self.m = nn.Sequential(
            *(Inverted(c2 if i else c1, c2, k, 1 if i else s, hidden) for i in range(n))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return n x c2 x h / s x w / s of n x c1 x h x w."""
        return self.m(x)


class Timm(nn.Module):
    """The features of a backbone of timm, as a list that Ultralytics' `Index` rows read.

    Args:
        c1: Channels of the image.
        name: A model of timm with ``features_only``, for example ``mobilenetv3_small_100``.
        pretrained: Whether to start from timm's weights where they can be downloaded. Offline they
            are random, which is said.
        out_indices: Which features, by timm's numbers; all if None.

    Raises:
        NASError: For a name that timm has not, or a model without such features.
    """

    def __init__(
        self, c1: int, name: str, pretrained: bool = False, out_indices: Any = None
    ) -> None:
        super().__init__()
        self.m = backbone(name, c1, out_indices, pretrained=pretrained)
        self.channels = tuple(self.m.feature_info.channels())
        self.last = channels_last(self.m)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of n x c1 x h x w, each n x channels x h' x w'."""
        last = getattr(self, "last", None)  # a checkpoint of before has it not
        return [
            y.permute(0, 3, 1, 2) if (y.shape[1] != c if last is None else last) else y
            for y, c in zip(self.m(x), self.channels, strict=True)
        ]


def backbone(
    name: str, channels: int, out_indices: Sequence[int] | None = None, *, pretrained: bool = False
) -> Any:
    """Return a backbone of timm; arguments as of `Timm`."""
    import timm

    if not timm.is_model(name):
        known = timm.list_models()
        raise NASError(
            f"Timm: timm has no model {name!r}.{did_you_mean(name.split('.')[0], known)} "
            "timm.list_models() names them"
        )
    options: dict[str, Any] = {"features_only": True, "in_chans": channels, **sizing(name)}
    if out_indices is not None:
        options["out_indices"] = tuple(out_indices)
    if pretrained:
        why = "this machine is offline" if not ONLINE else ""
        try:
            if ONLINE:
                return timm.create_model(name, pretrained=True, **options)
        except Exception as error:  # whatever a download runs into, or a model without weights
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        LOGGER.warning(f"Timm {name}: random weights, as timm's could not be had ({why})")
    try:
        return timm.create_model(name, pretrained=False, **options)
    except Exception as error:
        raise NASError(
            f"Timm: {name} cannot be a backbone with out_indices={out_indices} "
            f"({type(error).__name__}: {' '.join(str(error).split())[:160]})"
        ) from error


def channels_last(model: Any) -> bool:
    """Say whether the features of a backbone have their channels last, as timm says."""
    return "NHWC" in str(getattr(model, "output_fmt", ""))


@lru_cache(maxsize=1000)
def sizing(name: str) -> dict[str, Any]:
    """Return what a backbone of timm has to be told to take images of any size.

    Transformers are made for one size unless they are told otherwise. A detector is built at one
    size, trained at another and measured on images that are not square. So each is run on some
    sizes first, without numbers.

    Raises:
        NASError: For one that takes images of one size alone, or has no features.
    """
    import timm

    reason = ""
    for options in SIZING:
        try:
            with torch.device("meta"), warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                model = timm.create_model(name, features_only=True, **options).eval()
                for height, width in TRIED:
                    _check_features(model, model(torch.zeros(1, 3, height, width)), height, width)
            return options
        except Exception as error:  # whatever a model that was made for another size runs into
            reason = reason or f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    raise NASError(
        f"timm/{name} cannot be a backbone, as it does not take images of any size, also by "
        f"{', '.join(SIZING[1])} ({reason}); leave it out of the space"
    )


def _check_features(model: Any, found: Sequence[torch.Tensor], height: int, width: int) -> None:
    """Refuse features of other sizes than timm says."""
    info = model.feature_info
    for y, channels, stride in zip(found, info.channels(), info.reduction(), strict=True):
        y = y.permute(0, 3, 1, 2) if channels_last(model) else y
        expected = (channels, math.ceil(height / stride), math.ceil(width / stride))
        if tuple(y.shape[1:]) != expected:
            raise ValueError(f"features of {tuple(y.shape[1:])}, where timm says {expected}")


def fill_channels(definition: dict[str, Any], channels: int) -> None:
    """Write the channels into rows ``Index, [i]`` that read a `Timm` row, in place.

    Ultralytics' own form is ``Index, [channels, i]``, which is left as it is.

    Args:
        definition: A model definition.
        channels: Channels of the image.
    """
    rows = [*definition["backbone"], *definition["head"]]
    found: dict[int, list[int]] = {}
    for index, (source, _, module, args) in enumerate(rows):
        if module == "Timm":
            if index:
                raise NASError(f"row {index}: Timm reads the image, so it has to be the first row")
            name, _, out_indices = [*args, *(None,) * 3][:3]
            with torch.device("meta"):  # nothing but its channels is wanted
                found[index] = backbone(name, channels, out_indices).feature_info.channels()
        elif module == "Index" and len(args) == 1 and source in found:
            if not 0 <= args[0] < len(found[source]):
                raise NASError(
                    f"row {index}: Index, [{args[0]}]: the Timm row has {len(found[source])} "
                    "features, counted from 0"
                )
            args.insert(0, found[source][args[0]])


# Class name in a YAML -> class.
PLUGINS: dict[str, type[nn.Module]] = {"MBConv": MBConv, "Timm": Timm}
# Modules of Ultralytics for which its parser takes each; one that is not in use is chosen. They get
# (input channels, output channels, repeats) or (input channels) in front of the row's arguments.
STAND_INS = {"MBConv": ("C3x", "C3TR", "C1", "BottleneckCSP"), "Timm": ("CBLinear",)}
