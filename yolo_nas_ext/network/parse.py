"""A model definition of Ultralytics -> Architecture."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.files import read_yaml, said
from yolo_nas_ext.network.architecture import Architecture, Block, Head, Neck, TimmBackbone
from yolo_nas_ext.network.block_rows import ChainRow
from yolo_nas_ext.network.blocks import BLOCKS, read_chain
from yolo_nas_ext.network.rows import Row, rows
from yolo_nas_ext.network.timm_backbones import features


def read(source: Mapping[str, Any] | str | Path, scale: str = "") -> Architecture:
    """Return the architecture of a model definition of Ultralytics.

    Args:
        source: The definition as a dictionary or a YAML file.
        scale: Letter of the compound scale to apply where the definition has ``scales``.

    Returns:
        The architecture; emitting it gives a network with the same layers.

    Raises:
        NASError: For a file that is not a model definition, or a network with rows that the
            catalogue of blocks does not know, which are named.
    """
    where = str(source) if isinstance(source, (str, Path)) else "model definition"
    model = _load(Path(source)) if isinstance(source, (str, Path)) else dict(source)
    parts = {key: model.get(key) for key in ("backbone", "head")}
    missing = [key for key, part in parts.items() if not (isinstance(part, list) and part)]
    if missing:
        raise NASError(f"{where}: no '{missing[0]}' list of rows; give a YOLO model definition")
    if not isinstance(model.get("scales") or {}, dict):
        raise NASError(f"{where}: 'scales' is {model['scales']!r}; give three numbers by letter")
    for key in ("imgsz", "reg_max"):
        if model.get(key) is not None and (type(model[key]) is not int or model[key] < 0):
            raise NASError(f"{where}: {key} is {model[key]!r}; give a whole number")
    try:
        return _read(model, scale, where)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise NASError(
            f"{where}: malformed row ({error}); rows are [from, repeats, module, args]"
        ) from error


def _read(model: Mapping[str, Any], scale: str, where: str) -> Architecture:
    """Return the architecture of a definition that has rows."""
    chain = scaled_rows(model, scale, where)
    count = len(model["backbone"])
    body, ends = _read_body(chain[:count], where)
    neck, levels = _read_head(chain, count, body, ends, where)
    if any(block.width < 1 or block.depth < 1 for block in body.backbone):
        raise ValueError("a width or a number of repeats below 1")
    head = Head(
        levels,
        int(model.get("reg_max") or 16),
        bool(model.get("end2end") or False),
        yolo26=chain[-1][2].endswith("26"),
    )
    return replace(body, neck=neck, head=head, imgsz=int(model.get("imgsz") or 0))


def classes_of(model: Mapping[str, Any], usual: int = 80) -> int:
    """Return the number of classes of a model definition.

    Raises:
        NASError: Where that is no number of classes.
    """
    nc = usual if model.get("nc") is None else model["nc"]
    if type(nc) is not int or nc < 1:
        raise NASError(f"model definition: nc is {nc!r}; give a whole number of 1 or more")
    return nc


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NASError(f"model file '{path}' does not exist: give the path of a YAML")
    return read_yaml(path, str(path))


REPEATS, WIDEST = 200, 65_536  # of a row, and its numbers; what is larger is no network of today
# Heads that are read; those of the YOLO26 series end in its number.
READABLE = (
    "Detect",
    "Segment",
    "Segment26",
    "OBB",
    "OBB26",
    "Pose",
    "Pose26",
    "Classify",
    "SemanticSegment",
)
# Modules whose first argument Ultralytics scales by width.
_SCALED = {
    "Conv",
    "Focus",
    "SCDown",
    "ADown",
    "AConv",
    "C2f",
    "C3k2",
    "C3",
    "RepC3",
    "RepNCSPELAN4",
    "C2fCIB",
    "C3Ghost",
    "MBConv",
    "SPPF",
    "C2PSA",
    "Bottleneck",
}


def scaled_rows(
    model: Mapping[str, Any], scale: str = "", where: str = "model definition"
) -> list[Row]:
    """Return all rows with the compound scale of Ultralytics applied."""
    scales = model.get("scales") or {}
    if scale and scale not in scales:
        raise NASError(f"{where}: scale '{scale}' is none of {', '.join(scales) or '(no scales)'}")
    if scales and not scale:
        scale = next(iter(scales))
    depth, width, most = scales.get(scale, (1.0, 1.0, math.inf))
    depth = model.get("depth_multiple", depth)
    width = model.get("width_multiple", width)
    result: list[Row] = []
    for source, n, module, args in [*model["backbone"], *model["head"]]:
        args = list(args)
        n = max(round(n * depth), 1) if n > 1 else n
        if n > REPEATS or any(isinstance(a, int) and abs(a) > WIDEST for a in args):
            raise NASError(
                f"{where}: a row {str(module)[:40]} has {n} repeats and the arguments "
                f"{said(args)}; at most {REPEATS} and numbers of {WIDEST:,} are read"
            )
        if module in _SCALED:
            args[0] = math.ceil(min(args[0], most) * width / 8) * 8
        if module == "C3k2" and scale in {"m", "l", "x"}:
            args[1:2] = [True]
        frozen = tuple(tuple(a) if isinstance(a, list) else a for a in args)
        result.append((tuple(source) if isinstance(source, list) else source, n, module, frozen))
    return result


def _read_body(chain: Sequence[Row], where: str) -> tuple[Architecture, list[int]]:
    """Return a network that is a backbone alone, and the rows in which its parts end."""
    bare = Neck((), (), ()), Head(())
    if chain and chain[0][2] == "Timm":
        timm = _read_timm(chain, where)
        return Architecture((), *bare, timm=timm), list(range(1, len(chain)))
    blocks, ends = _read_backbone(chain, where)
    return Architecture(tuple(blocks), *bare), ends


def _read_timm(chain: Sequence[Row], where: str) -> TimmBackbone:
    """Return a backbone of timm: its row, and one that picks a feature for each of them."""
    name, pretrained, indices = [*chain[0][3], *(None,) * 3][:3]
    known = features(str(name))
    given = range(len(known.widths)) if indices is None else indices
    indices = tuple(i % len(known.widths) for i in given)
    widths = tuple(known.widths[i] for i in indices)
    for index, (source, _, module, args) in enumerate(chain[1:]):
        picks = (0, "Index") == (source, module) and tuple(args) in (
            (index,),
            (widths[index] if index < len(widths) else 0, index),
        )
        if not picks or index >= len(indices):
            raise NASError(
                f"{where}: row {index + 1} ({module}): behind a row Timm this reader knows one row "
                "Index for each of its features, in their order, alone"
            )
    if len(chain) != 1 + len(indices):
        raise NASError(f"{where}: the row Timm has {len(indices)} features, not all of them read")
    levels = tuple(known.levels[i] for i in indices)
    return TimmBackbone(str(name), bool(pretrained), indices, levels, widths)


def _read_backbone(chain: Sequence[Row], where: str) -> tuple[list[Block], list[int]]:
    for index, (source, _, module, _) in enumerate(chain):
        if source != -1:
            raise NASError(f"{where}: row {index} ({module}) does not follow the one before it")
    found, used = read_chain([(n, m, a) for _, n, m, a in chain])
    if used < len(chain):
        module = chain[used][2]
        known = {row[1] for kind in BLOCKS.values() for row in _examples(kind)}
        raise NASError(
            f"{where}: row {used} ({module}{list(chain[used][3])}) is of no known block."
            f"{did_you_mean(module, known) if module not in known else ''}"
        )
    return [block for block, _ in found], [end for _, end in found]


def _examples(kind: Any) -> list[ChainRow]:
    return kind.rows(Block("", 64, 2, 1, 32, 3))


def _read_head(
    chain: Sequence[Row], count: int, body: Architecture, ends: list[int], where: str
) -> tuple[Neck, tuple[int, ...]]:
    """Return the neck and the levels that the head reads."""
    levels = body.levels
    level_of_row = {ends[index]: level for level, index in levels.items()}
    *path, (sources, _, module, _) = chain[count:]
    top = max(levels)
    if module == "Classify" and not path:  # a backbone without a neck
        return Neck((top,), (), ()), (top,)
    if module not in READABLE:
        raise NASError(f"{where}: ends in {module}; this reader knows {', '.join(READABLE)}")
    wired = f"{where}: the head's rows are wired in a way that this reader does not know"
    try:
        neck, outputs = _read_neck(path, count, level_of_row, where)
    except (TypeError, IndexError) as error:  # a Concat of one row, a Conv of several
        raise NASError(wired) from error
    rows_of = {row: lv for lv, row in outputs.items()}
    joined = neck.levels
    reads = tuple(
        rows_of.get(row, -1) for row in ([sources] if isinstance(sources, int) else sources)
    )
    if -1 not in reads and list(reads) != sorted(reads):  # it would build, with wrong strides
        raise NASError(f"{where}: Detect reads levels {list(reads)}; they must ascend")
    if -1 in reads or -1 in joined or joined != tuple(range(joined[0], top + 1)):
        raise NASError(
            f"{where}: the neck is not a path-aggregation network over neighbouring levels"
        )
    mine = rows(replace(body, neck=neck, head=Head(reads)), 1)[1][:-1]
    if [_wiring(row) for row in mine] != [_wiring(row) for row in path]:
        raise NASError(wired)
    return neck, reads


def _wiring(row: Row) -> tuple[Any, ...]:
    """Return what of a neck's row is not its block's: of those of queen fusion, everything."""
    crosses = isinstance(row[0], int) and row[0] != -1
    return row if crosses else row[:3]


def _read_neck(
    path: Sequence[Row], count: int, level_of_row: Mapping[int, int], where: str
) -> tuple[Neck, dict[int, int]]:
    """Return a neck of either kind, and the row that gives each of its levels."""
    top = max(level_of_row.values())
    lateral, at = {top: next(row for row, level in level_of_row.items() if level == top)}, 0
    down: list[Block] = []
    # Queen fusion begins with what is below the highest level.
    queen = bool(path) and path[0][0] != -1
    if queen:
        block, at = _read_block(path, 2, count, where)
        down.append(block)
        lateral[top] = count + at - 1
    while at + 2 < len(path) and path[at][2] == "nn.Upsample":
        at += 1 + (path[at + 1][2] != "Concat")
        level = level_of_row.get(path[at][0][1], -1)
        block, at = _read_block(path, at + 1, count, where)
        down.append(block)
        lateral[level] = count + at - 1
    outputs, up = dict(lateral), []
    while at < len(path):
        first, at = _read_block(path, at, count, where)
        at += at + 1 < len(path) and path[at][2] != "Concat"
        if at >= len(path) or path[at][2] != "Concat":
            raise NASError(f"{where}: row {count + at} should be a Concat of the bottom-up path")
        level = next((lv for lv, row in lateral.items() if row == path[at][0][1]), -1)
        block, at = _read_block(path, at + 1, count, where)
        up.append((first, block))
        outputs[level] = count + at - 1
    joined = tuple(sorted(lateral))
    return Neck(joined, tuple(down), tuple(up), "gfpn" if queen else "pan"), outputs


def _read_block(path: Sequence[Row], at: int, count: int, where: str) -> tuple[Block, int]:
    """Return the block at row `at` of the head and the index behind it."""
    end = at
    while end < len(path) and path[end][0] == -1 and path[end][2] not in ("nn.Upsample", "Concat"):
        end += 1
    chain = [(n, m, a) for _, n, m, a in path[at:end]]
    found, _ = read_chain(chain) if chain else ([], 0)
    if not found:
        name = path[at][2] if at < len(path) else "nothing"
        raise NASError(f"{where}: row {count + at} ({name}) is of no block this reader knows")
    block, last = found[0]
    return block, at + last + 1


def split_scale(name: str) -> tuple[str, str]:
    """Return the file name and the scale letter of a model's name such as ``yolo11n.yaml``."""
    path = Path(name)
    match = re.match(r"^(yolo(?:v)?\d+)([nslmx])(.*)$", path.stem)
    if not match:
        return path.name, ""
    return f"{match.group(1)}{match.group(3)}{path.suffix or '.yaml'}", match.group(2)
