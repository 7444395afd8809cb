"""Architecture -> a model definition of Ultralytics; `network.parse` has the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yolo_nas_ext.console import clean
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture, Block
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.rows import KEYPOINTS, PLAIN, TASKS, rows


def emit(
    architecture: Architecture,
    nc: int = 80,
    task: str = "detect",
    keypoints: tuple[int, int] = KEYPOINTS,
) -> dict[str, Any]:
    """Return Ultralytics' model definition of an architecture.

    Args:
        architecture: What to emit.
        nc: Number of classes.
        task: The head's task.
        keypoints: Number of keypoints and numbers a point, of the task pose.

    Returns:
        A dictionary with ``nc`` and the rows of ``backbone`` and ``head``. It has ``reg_max`` and
        ``end2end`` where they differ from Ultralytics' defaults, and ``imgsz`` where the network is
        meant for images of a size. Stock Ultralytics builds it.

    Raises:
        NASError: For a task without a head here.
    """
    if task not in TASKS:
        raise NASError(f"task={task} has no head yet; allowed: {', '.join(TASKS)}")
    backbone, head = rows(architecture, nc, task, keypoints)
    model: dict[str, Any] = {"nc": nc}
    # By their names, which Ultralytics replaces by what the data has: a model found on one data set
    # is trained on another with other classes.
    *rest, (source, n, module, (_, *others)) = head
    if task == "pose":
        model["kpt_shape"] = list(keypoints)
        others = ["kpt_shape"]
    head = [*rest, (source, n, module, ("nc", *others))]
    if task not in PLAIN and architecture.head.reg_max != 16:
        model["reg_max"] = architecture.head.reg_max
    if task not in PLAIN and architecture.head.end2end:
        model["end2end"] = True
    if architecture.imgsz:  # a note to people and to `read`; Ultralytics has no use for it
        model["imgsz"] = architecture.imgsz
    for name, chain in (("backbone", backbone), ("head", head)):
        model[name] = [
            [list(f) if isinstance(f, tuple) else f, n, m, _plain(a)] for f, n, m, a in chain
        ]
    return model


def _plain(value: Any) -> Any:
    """Return nested tuples as lists."""
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def to_yaml(
    architecture: Architecture,
    nc: int,
    task: str = "detect",
    notes: Sequence[str] = (),
    keypoints: tuple[int, int] = KEYPOINTS,
) -> str:
    """Return the text of Ultralytics' YAML, one row per line, with a commented header.

    Args:
        architecture: What to write.
        nc: Number of classes.
        task: The head's task.
        notes: Lines for the header.
        keypoints: See `emit`.
    """
    model = emit(architecture, nc, task, keypoints)
    needs = sorted({b.kind for b in blocks_of(architecture) if BLOCKS[b.kind].plugin})
    needs += ["the backbone of timm"] if architecture.timm else []
    picked = dict(enumerate(architecture.timm.levels, 1)) if architecture.timm else {}
    header = [
        f"# nas-{architecture.key}: a {task} model of {'' if needs else 'stock '}Ultralytics, "
        "found by yolo_nas_ext",
        *(f"# {' '.join(clean(note).split())}" for note in notes),  # a line ends a comment
        *(
            [
                f"# meant for images of {architecture.imgsz} px: train, predict and export with "
                f"imgsz={architecture.imgsz}"
            ]
            if architecture.imgsz
            else []
        ),
        f"# {'needs yolo_nas_ext for ' + ', '.join(needs) if needs else 'needs no plugin'}",
    ]
    lines = [*header, ""]
    level, index = 0, 0
    for name, value in model.items():
        if name not in ("backbone", "head"):
            lines.append(f"{name}: {_flow(value)}")
            continue
        lines += ["", f"{name}:", "  # [from, repeats, module, args]"]
        for row in value:
            stride2 = name == "backbone" and (row[2] in ("Focus", "ADown", "AConv") or _stride(row))
            level = picked.get(index, level + stride2)
            mark = f"-P{level}/{2**level}" if stride2 or index in picked else ""
            lines.append(f"  - {_flow(row)} # {index}{mark}")
            index += 1
    return "\n".join(lines) + "\n"


def _stride(row: list[Any]) -> bool:
    return row[2] in ("Conv", "SCDown", "MBConv") and len(row[3]) > 2 and row[3][2] == 2


def _flow(value: Any) -> str:
    """Return a value as one line of YAML in Ultralytics' style."""
    if isinstance(value, list):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value)
    return str(value)


def blocks_of(architecture: Architecture) -> list[Block]:
    """Return every block of backbone and neck."""
    neck = architecture.neck
    return [*architecture.backbone, *neck.down, *(b for pair in neck.up for b in pair)]
