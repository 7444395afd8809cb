"""A tiny data set of coloured rectangles and ellipses, drawn into a folder."""

from pathlib import Path

import cv2
import numpy as np
import yaml


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
