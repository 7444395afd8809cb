"""Data sets that are made on this machine as scans and then converted by `data.scans.convert`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from scipy import ndimage

from yolo_nas_ext.data.builtin import cache
from yolo_nas_ext.data.builtin.cache import cache_folder
from yolo_nas_ext.data.scans import pairing
from yolo_nas_ext.data.scans.convert import Options, convert
from yolo_nas_ext.data.scans.options import Cut

VERSION = 1  # of what is drawn
AIR, FAT, LIVER, TUMOUR = -1000.0, -90.0, 60.0, 110.0  # Hounsfield units
STEP = (1.2, 1.2, 4.0)  # mm; slices are thicker than pixels, as in practice


def write_lesions(folder: Path, *, patients: int = 24, seed: int = 0) -> None:
    """Write CT-like phantoms as NIfTI below ``images`` and ``labels``: a liver with tumours.

    Tumours are MONAI's random spheres (`monai.data.synthetic`), within the liver; small bright
    vessels look like them in one slice, but go on through the others.

    Args:
        folder: Where to write.
        patients: Number of scans.
        seed: The same seed gives the same voxels.
    """
    from monai.data.synthetic import create_test_image_3d

    size, depth = 160, 36
    x, y, z = np.ogrid[:size, :size, :depth]
    for patient in range(patients):
        state = np.random.RandomState([seed, patient])
        _, spheres = create_test_image_3d(
            size,
            size,
            depth,
            num_objs=int(state.randint(12, 24)),
            rad_max=12,
            rad_min=3,
            num_seg_classes=1,
            random_state=state,
        )
        wide, high = state.uniform(0.4, 0.46) * size, state.uniform(0.33, 0.4) * size
        body = ((x - size / 2) / wide) ** 2 + ((y - size / 2) / high) ** 2 + 0 * z < 1
        across, along, thick = state.uniform(0.22, 0.28, 3) * (size, size, 2 * depth)
        middle = size * 0.4, size * 0.5, depth / 2
        liver = ((x - middle[0]) / across) ** 2 + ((y - middle[1]) / along) ** 2 + (
            (z - middle[2]) / thick
        ) ** 2 < 1
        liver &= body
        tumours = liver & (spheres > 0)
        image = np.where(body, FAT, AIR)
        image = np.where(liver, LIVER, image)
        for _ in range(6):
            cx, cy, drift = state.uniform((0.25, 0.25, -0.5), (0.6, 0.6, 0.5))
            at = (x - cx * size - drift * z) ** 2 + (y - cy * size) ** 2 < state.uniform(4, 16)
            image = np.where(at & liver, TUMOUR + 20, image)
        image = np.where(tumours, TUMOUR + state.uniform(-15, 15), image)
        image = ndimage.gaussian_filter(image, (0.8, 0.8, 0.4)) + state.normal(0, 12, image.shape)
        affine = np.diag([-STEP[0], -STEP[1], STEP[2], 1])
        for kind, array in (("images", image.astype(np.int16)), ("labels", tumours.astype("u1"))):
            path = folder / kind / f"phantom{patient:02d}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), path)  # pyright: ignore[reportPrivateImportUsage]


def write_nuclei(folder: Path, *, images: int = 80, seed: int = 0) -> None:
    """Write pictures of stained nuclei below ``images`` and 16-bit instance maps below ``masks``.

    Args:
        folder: Where to write.
        images: Number of pictures.
        seed: The same seed gives the same pixels.
    """
    size = 128
    y, x = np.mgrid[:size, :size].astype(float)
    for number in range(images):
        rng = np.random.default_rng([seed, number])
        instances = np.zeros((size, size), np.uint16)
        shade = np.zeros((size, size))
        for label in range(1, int(rng.integers(8, 30))):
            cx, cy = rng.uniform(4, size - 4, 2)
            a, b = rng.uniform(5, 11), rng.uniform(4, 8)
            turn = rng.uniform(0, np.pi)
            u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
            v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
            inside = ((u / a) ** 2 + (v / b) ** 2 < 1) & (instances == 0)  # touching, not under
            if inside.sum() > 40:
                instances[inside] = label
                shade[inside] = rng.uniform(0.55, 1.0)
        grain = ndimage.gaussian_filter(rng.normal(size=shade.shape), 1.5)
        shade = ndimage.gaussian_filter(shade, 0.9) * (1 + grain)
        paper, stain = np.array([228.0, 205.0, 222.0]), np.array([120.0, 140.0, 70.0])
        picture = paper - shade[..., None] * stain + rng.normal(0, 5, (size, size, 1))
        for kind, array in (
            ("images", picture.clip(0, 255).astype(np.uint8)),
            ("masks", instances),
        ):
            path = folder / kind / f"field{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)


def ensure(name: str, root: Path | None = None) -> Path:
    """Return the folder of a data set, making it first unless it is there.

    Args:
        name: ``lesions`` or ``nuclei``.
        root: Folder to keep it in; by default `cache.cache_folder()`.

    Raises:
        NASError: The folder cannot be written.
    """
    write, options = SETS[name]
    folder = (cache_folder() if root is None else root) / f"{name}-v{VERSION}"

    def make(work: Path) -> None:
        write(work / name)
        found = pairing.find(str(work / name))
        convert(found, folder, options, salt=name, say=lambda line: None)

    return cache.ensure(folder, make, room="100 MB free")


def lesions(yaml: dict[str, Any]) -> None:
    """Point Ultralytics' data dictionary at the phantoms; called by ``datasets/lesions.yaml``."""
    cache.point(yaml, ensure("lesions"))


def nuclei(yaml: dict[str, Any]) -> None:
    """Point Ultralytics' data dictionary at the nuclei; called by ``datasets/nuclei.yaml``."""
    cache.point(yaml, ensure("nuclei"))


SETS: dict[str, tuple[Callable[[Path], None], Options]] = {
    "lesions": (
        write_lesions,
        Options(
            task="segment",
            names={1: "tumour"},
            empty_masks=True,
            cut=Cut(window=(-150.0, 250.0), min_mm2=12.0, empty=0.3),
        ),
    ),
    "nuclei": (write_nuclei, Options(task="segment", names={1: "nucleus"}, values="instances")),
}
