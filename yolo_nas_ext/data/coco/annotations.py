"""COCO JSONs that are read and repaired, and the images that they list."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from pycocotools.coco import COCO

from yolo_nas_ext.data.coco.repairs import repaired
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import free_memory, json_of

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What Ultralytics reads on every platform without a further package."""
GROWS = 10  # bytes in memory for one of a JSON, about
SIDES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
PART = "split"  # key of an image: the part that it was in


def load(path: Path) -> COCO:
    """Return a COCO JSON whose keys may be trusted.

    Raises:
        NASError: See `read`.
    """
    return read(path)[0]


def read(path: Path) -> tuple[COCO, Counter[str]]:
    """Return a COCO JSON, repaired where its meaning is clear, and what was done how often.

    Args:
        path: The file, or a folder of one file a part: ``train/_annotations.coco.json``,
            ``instances_val.json``. Then images are named from there on.

    Raises:
        NASError: For a file that cannot be read, or that is no COCO instances JSON.
    """
    path = Path(path)
    if path.is_dir():
        return _together(path)
    data, did = repaired(_json(path), path)
    for row in data["images"]:
        if part := _part(row.get(PART)) or part_of(str(row["file_name"])):
            row[PART] = part
    return _indexed(data), did


def _json(path: Path) -> Any:
    try:
        size, free = path.stat().st_size, free_memory()
        if size * GROWS > free:
            raise ValueError(f"it has {size:,} bytes, too many for {free:,} of free memory")
        raw = path.read_bytes()
        wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        return json_of(raw.decode("utf-16" if wide else "utf-8-sig"))
    except OSError as error:
        raise NASError(
            f"{path}: cannot be read ({error.strerror}); give a COCO instances JSON"
        ) from error
    except ValueError as error:
        raise NASError(
            f"{path}: is not valid JSON ({error}); give a COCO instances JSON"
        ) from error


def _indexed(data: dict[str, Any]) -> COCO:
    coco: Any = COCO()
    coco.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _together(folder: Path) -> tuple[COCO, Counter[str]]:
    """Return the files of a folder as one, with categories joined by name."""
    files = []
    for file in sorted(folder.rglob("*.json")):
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        with contextlib.suppress(NASError):
            data = _json(file)
            if isinstance(data, dict) and "images" in data and "annotations" in data:
                files.append((file, data))
    if not files:
        raise NASError(f"source={folder}: holds no COCO instances JSON; give one, or their folder")
    whole: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    did: Counter[str] = Counter()
    kinds: dict[str, int] = {}
    for number, (file, data) in enumerate(files):
        fixed, repairs = repaired(data, file)
        did += repairs
        here = {row["id"]: kinds.setdefault(row["name"], len(kinds)) for row in fixed["categories"]}
        start = 1 + max((row["id"] for row in whole["images"]), default=0)
        ids = {row["id"]: start + i for i, row in enumerate(fixed["images"])}
        part = part_of(file.relative_to(folder).as_posix())
        for row in fixed["images"]:
            own = _part(row.get(PART)) or part or part_of(str(row["file_name"]))
            where = file.relative_to(folder).parent.as_posix()
            more = {PART: own} if own else {}
            whole["images"].append({**row, **more, "id": ids[row["id"]], "folder": where})
        for row in fixed["annotations"]:
            image = ids.get(row["image_id"], -1 - number)
            kind = here[row["category_id"]]
            count = len(whole["annotations"]) + 1
            whole["annotations"].append(
                {**row, "id": count, "image_id": image, "category_id": kind}
            )
    whole["categories"] = [{"id": index, "name": name} for name, index in kinds.items()]
    return _indexed(whole), did


def _part(value: Any) -> str:
    """Return the part that a word stands for; nothing where it stands for none."""
    return SIDES.get(str(value or "").strip().lower(), "")


def part_of(name: str) -> str:
    """Return the part that a path says: by a folder, else by a word of the file's name."""
    *above, last = PurePosixPath(name.replace("\\", "/")).parts or ("",)
    words = [w.rstrip("0123456789") for w in PurePosixPath(last).stem.lower().split("_")]
    named = [part for folder in above if (part := _part(folder.lower().rstrip("0123456789")))]
    if named or PurePosixPath(last).suffix != ".json":  # names of pictures say no more
        return named[-1] if named else ""
    return next((part for w in words if (part := _part(w))), "")


def find_images(
    coco: COCO, images: Path, did: Counter[str] | None = None
) -> tuple[list[tuple[dict[str, Any], Path]], list[tuple[str, str]]]:
    """Return the (row, path) of images that are there, by id, and (name, reason) of the others.

    Args:
        coco: The annotations.
        images: The folder of the images; a JSON may name no file outside of it.
        did: Counts names that were not found as they are written.
    """
    found, skipped = [], []
    below: dict[str, list[Path]] = {}
    used: set[Path] = set()
    for key in sorted(coco.imgs):
        row = coco.imgs[key]
        name = str(row["file_name"])
        path, as_written = _path(name, str(row.get("folder", "")), images, below)
        if path.suffix.lower() not in SUFFIXES:
            skipped.append((name, f"is not one of {', '.join(SUFFIXES)}"))
        elif not path.is_relative_to(os.path.abspath(images)):  # a foreign JSON may name any file
            skipped.append((name, "is outside the images folder"))
        elif not _there(path):
            skipped.append((name, "is not in the images folder"))
        elif path in used:
            skipped.append((name, f"would be {path.name}, which another row is of, too"))
        else:
            used.add(path)
            found.append((row, path))
            if did is not None and not as_written:
                did["file names found by their end"] += 1
    return found, skipped


def _there(path: Path) -> bool:
    """Say whether a file is there, whatever it is called."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, or none that a system has
        return False


def _path(name: str, folder: str, images: Path, below: dict[str, list[Path]]) -> tuple[Path, bool]:
    """Return where an image is, and whether the JSON says so.

    Exporters write paths of their own machine, of Windows, or from a folder above; then the end of
    the path says which image it is, as long as it says one.
    """
    first = Path(os.path.abspath(images / folder / name))
    if _there(first) and first.is_relative_to(os.path.abspath(images)):
        return first, True
    for text in dict.fromkeys((name, unquote(name))):
        plain = text.replace("\\", "/").split("?")[0]
        parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
        for start in range(len(parts)):
            for base in (images / folder, images / folder / "images", images):
                path = Path(os.path.abspath(base / "/".join(parts[start:])))
                if _there(path):
                    return path, False
        if not below:
            below[""] = []
            for file in sorted(images.rglob("*")):
                if file.suffix.lower() in SUFFIXES:
                    below.setdefault(file.name.lower(), []).append(Path(os.path.abspath(file)))
                    below.setdefault(file.stem.lower(), []).append(Path(os.path.abspath(file)))
        last = parts[-1].lower() if parts else ""
        if len(there := set(below.get(last, []))) == 1:
            return there.pop(), False
    return first, True
