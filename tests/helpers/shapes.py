"""A tiny data set of coloured rectangles and ellipses, drawn into a folder."""

from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image
from scipy import ndimage


def draw(folder: Path, train: int = 12, val: int = 4, size: int = 64, nc: int = 2) -> Path:
    """Draw images and labels and return the data YAML."""
    rng = np.random.default_rng(0)
    for split, n in {"train": train, "val": val}.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for index in range(n):
            image = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
            lines = []
            for _ in range(int(rng.integers(1, 4))):
                c = int(rng.integers(0, nc))
                w, h = rng.integers(size // 6, size // 3, 2)
                x, y = rng.integers(w, size - w), rng.integers(h, size - h)
                colour = [(250, 60, 60), (60, 250, 60), (60, 60, 250)][c]
                corners = (int(x - w // 2), int(y - h // 2)), (int(x + w // 2), int(y + h // 2))
                cv2.rectangle(image, *corners, colour, -1)
                lines.append(f"{c} {x / size:.6f} {y / size:.6f} {w / size:.6f} {h / size:.6f}")
            cv2.imwrite(str(folder / "images" / split / f"{index:03}.png"), image)
            (folder / "labels" / split / f"{index:03}.txt").write_text("\n".join(lines))
    path = folder / "data.yaml"
    names = {i: f"shape{i}" for i in range(nc)}
    path.write_text(yaml.safe_dump({"train": "images/train", "val": "images/val", "names": names}))
    return path


def name_as_slices(folder: Path, slices: int) -> None:
    """Rename the training images as `nas-data` names them, so many slices a patient."""
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        for file in sorted((folder / kind / "train").glob(f"*.{suffix}")):
            index = int(file.stem)
            file.rename(file.with_name(f"p{index // slices:010x}_abcdef_{index:04d}.{suffix}"))


def relabel(folder, change):
    """Rewrite every row of numbers of a folder's label files."""
    for file in (folder / "labels").rglob("*.txt"):
        rows = [list(map(float, line.split())) for line in file.read_text().splitlines()]
        lines = [" ".join(f"{v:g}" for v in change(int(row[0]), *row[1:])) for row in rows]
        file.write_text("\n".join(lines))


def corners(c, x, y, w, h):
    x0, y0, x1, y1 = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return c, x0, y0, x1, y0, x1, y1, x0, y1


def pose(c, x, y, w, h):
    return c, x, y, w, h, x, y, 2, x + w / 2, y + h / 2, 2


def draw_for(task, folder):
    """Draw a data set of a task and return what `data=` takes."""
    if task == "classify":
        rng = np.random.default_rng(0)
        for split, n in {"train": 8, "val": 2}.items():
            for value, name in enumerate(("dark", "light")):
                (folder / split / name).mkdir(parents=True)
                for index in range(n):
                    image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8) + 150 * value
                    cv2.imwrite(str(folder / split / name / f"{index}.png"), image.astype(np.uint8))
        return folder
    file = draw(folder, train=8, val=2)
    if task != "detect":
        relabel(folder, pose if task == "pose" else corners)
    if task == "pose":
        content = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({**content, "kpt_shape": [2, 3], "flip_idx": [0, 1]}))
    return file


def picture(seed, size=(240, 180)):
    """A smooth picture with noise, as photographs are."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.zoom(rng.uniform(0, 255, (6, 8, 3)), (size[1] / 6, size[0] / 8, 1), order=1)
    return Image.fromarray((smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8))
