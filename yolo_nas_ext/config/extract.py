"""Every key of `yolo nas-extract`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from yolo_nas_ext.config.fields import EPOCHS, flag, limit, limits, optional, path, real, whole
from yolo_nas_ext.config.settings import Settings, key

FRONT = "front"
KEYS = "Keys"
LIMITED = ("max_latency", "max_flops", "max_params")  # keys that choose the best network within


@dataclass(frozen=True, kw_only=True)
class ExtractSettings(Settings):
    """The settings of one extraction."""

    command: ClassVar[str] = "nas-extract"
    about: ClassVar[str] = """\
yolo nas-extract run=<folder of a search> [key=value ...]

Networks of a supernet as stock models with its weights, with no training unless tune= says so."""

    run: str = key(
        None, path, KEYS, "folder of a search with estimator=supernet, for example runs/nas/search"
    )
    key_: str = key(
        FRONT,
        str,
        KEYS,
        "keys of evaluated networks, separated by commas; front for those no other beats",
    )
    max_latency: tuple[float, ...] | None = key(
        None,
        limits(real(0)),
        KEYS,
        "take the best network of at most so many milliseconds; 20,8 for two devices, in the order "
        "of the run's latency=",
        kind="number",
    )
    max_flops: float | None = key(
        None,
        limit(real(0)),
        KEYS,
        "take the best network of at most so many FLOPs",
        kind="number",
    )
    max_params: float | None = key(
        None,
        limit(real(0)),
        KEYS,
        "take the best network of at most so many parameters",
        kind="number",
    )
    tune: int = key(
        0,
        whole(0, EPOCHS),
        KEYS,
        "epochs that a network is trained on for, on all of train; measured on val",
    )
    out: str = key(
        None, path, KEYS, "folder for nas-<key>.yaml and nas-<key>.pt; the run's pareto/ if empty"
    )
    data: str | None = key(
        None,
        optional(path),
        KEYS,
        "the run's data set, repeated where its download: code or its URL is not your own",
    )
    blocks: str | None = key(
        None, optional(path), KEYS, "the run's Python file, repeated where it is not your own"
    )
    follow_links: bool = key(
        False, flag, KEYS, "take a folder that has links to elsewhere, and write there, too"
    )


HELP = (ExtractSettings,)
