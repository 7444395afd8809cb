"""Public data sets, downloaded from the internet and converted as one's own would be.

Each is fetched once into the cache folder, converted there, and the download is deleted.
"""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel as nib
import numpy as np

from yolo_nas_ext.data.builtin import cache
from yolo_nas_ext.data.builtin.cache import cache_folder
from yolo_nas_ext.data.coco.convert import import_coco
from yolo_nas_ext.data.pictures import opened
from yolo_nas_ext.data.scans import pairing
from yolo_nas_ext.data.scans.convert import Options, convert
from yolo_nas_ext.data.scans.intensity import window
from yolo_nas_ext.data.scans.options import Cut
from yolo_nas_ext.errors import NASError, RunError

MSD = "Task09_Spleen"
DSB = "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip"
BCCD = "https://github.com/Shenggan/BCCD_Dataset/archive/refs/heads/master.zip"
COCO = (
    "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
    "http://images.cocodataset.org/zips/val2017.zip",
)
COCO_IMAGES = 500
LUNA = "https://zenodo.org/records/3723295/files/"
LUNA_PARTS = ("subset0.zip",)  # one of ten, 6.8 GB; further ones by adding their names


def fetch(url: str, folder: Path, md5: str | None = None) -> None:
    """Download a file into a folder, and unpack it if it is an archive.

    Raises:
        RunError: Where that fails, or the archive is not the expected one.
    """
    from monai.apps.utils import download_and_extract, download_url

    file = folder / url.rpartition("/")[2]
    try:
        if file.suffix == ".csv":
            download_url(url, file)
        else:
            download_and_extract(url, file, folder, hash_val=md5, hash_type="md5")
    except Exception as error:  # of the connection, of the disk, of the archive
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(
            f"{url}: cannot be fetched ({reason}); check the connection, or use data=cells, "
            "lesions or nuclei, which need none"
        ) from error


def msd(work: Path, out: Path) -> None:
    """Convert a task of the Medical Segmentation Decathlon."""
    from monai.apps.datasets import DecathlonDataset

    fetch(DecathlonDataset.resource[MSD], work, DecathlonDataset.md5[MSD])
    how = Cut(window=window("abdomen"), min_mm2=20.0)
    convert(pairing.find(str(work / MSD)), out, Options(task="segment", cut=how), say=_quiet)


def dsb2018(work: Path, out: Path) -> None:
    """Convert the nuclei of the 2018 Data Science Bowl, one file per instance."""
    fetch(DSB, work / "nuclei")
    options = Options(task="segment", names={1: "nucleus"}, values="instances")
    convert(pairing.find(str(work / "nuclei")), out, options, say=_quiet)


def bccd(work: Path, out: Path) -> None:
    """Convert blood cells with boxes as Pascal VOC writes them."""
    fetch(BCCD, work)
    folder = next(work.rglob("JPEGImages"))
    categories = {"RBC": 1, "WBC": 2, "Platelets": 3}  # in the order of its YAML
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for file in sorted((folder.parent / "Annotations").glob("*.xml")):
        picture = folder / f"{file.stem}.jpg"
        if not picture.is_file():
            continue
        with opened(picture) as image:
            width, height = image.size
        size = {"width": width, "height": height}
        images.append({"id": len(images) + 1, "file_name": picture.name, **size})
        for item in ElementTree.parse(file).getroot().iter("object"):
            category = categories.setdefault(item.findtext("name", "cell"), len(categories) + 1)
            x0, y0, x1, y1 = (
                float(item.findtext(f"bndbox/{side}", "0"))
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": category,
                    "bbox": [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1],
                    "iscrowd": 0,
                }
            )
    rows = [{"id": number, "name": name} for name, number in categories.items()]
    file = work / "bccd.json"
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": rows}), "utf-8"
    )
    import_coco(file, folder, out, all_classes=True)


def coco(work: Path, out: Path) -> None:
    """Convert a subset of COCO's val images, classes and sizes of objects in their shares."""
    for url in COCO:
        fetch(url, work)
    annotations = work / "annotations" / "instances_val2017.json"
    import_coco(annotations, work / "val2017", out, max_images=COCO_IMAGES, all_classes=True)


def luna16(work: Path, out: Path) -> None:
    """Convert CT scans with nodules, which are marked by centre and diameter.

    Raises:
        NASError: Without SimpleITK, which reads the scans' format.
    """
    if importlib.util.find_spec("SimpleITK") is None:
        raise NASError("data=luna16: its scans need SimpleITK; pip install simpleitk")
    fetch(f"{LUNA}annotations.csv", work)
    for part in LUNA_PARTS:
        fetch(f"{LUNA}{part}", work)
    marks: dict[str, list[tuple[float, ...]]] = {}
    table = (work / "annotations.csv").read_text("utf-8")
    for row in csv.DictReader(table.splitlines()):
        values = (float(row[key]) for key in ("coordX", "coordY", "coordZ", "diameter_mm"))
        marks.setdefault(row["seriesuid"], []).append(tuple(values))
    for number, file in enumerate(sorted(work.rglob("*.mhd"))):
        nodules(file, marks.get(file.stem, []), work / "scans", f"scan{number:03d}")
    how = Cut(window=window("lung"), channels=3, empty=0.02)
    options = Options(names={1: "nodule"}, cut=how, empty_masks=True)
    convert(pairing.find(str(work / "scans")), out, options, say=_quiet)


def nodules(file: Path, marks: list[tuple[float, ...]], folder: Path, name: str) -> None:
    """Write a scan and a mask of spheres as NIfTI.

    Args:
        file: What SimpleITK reads.
        marks: Centre (x, y, z) in the scan's mm and diameter in mm of every nodule.
        folder: Where to write, below ``images`` and ``labels``.
        name: Name of both files.
    """
    import SimpleITK as sitk

    image = sitk.ReadImage(str(file))
    array = sitk.GetArrayFromImage(image).T
    spacing = np.array(image.GetSpacing())
    mask = np.zeros(array.shape, np.uint8)
    for x, y, z, diameter in marks:
        centre = np.array(image.TransformPhysicalPointToContinuousIndex((x, y, z)))
        reach = diameter / 2 / spacing
        low = np.maximum(np.floor(centre - reach).astype(int), 0)
        high = np.minimum(np.ceil(centre + reach).astype(int) + 1, array.shape)
        grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1)
        inside = (((grid - centre) * spacing) ** 2).sum(-1) <= (diameter / 2) ** 2
        mask[tuple(map(slice, low, high))][inside] = 1
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * spacing
    affine[:3, 3] = image.GetOrigin()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    for kind, values in (("images", array.astype(np.int16)), ("labels", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        path = folder / kind / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(values, affine), path)  # pyright: ignore[reportPrivateImportUsage]


SETS: dict[str, Callable[[Path, Path], None]] = {
    "msd": msd,
    "dsb2018": dsb2018,
    "bccd": bccd,
    "coco": coco,
    "luna16": luna16,
}


def recipe(yaml: dict[str, Any], name: str) -> None:
    """Point Ultralytics' data dictionary at a public data set; called by its YAML's ``download:``.

    Args:
        yaml: Ultralytics' dictionary; ``path``, ``train`` and ``val`` are replaced.
        name: A key of `SETS`.

    Raises:
        NASError: Where the set cannot be fetched, converted or written.
    """
    folder = cache_folder() / f"public-{name}"
    cache.point(yaml, cache.ensure(folder, lambda work: SETS[name](work, folder), room="room"))


def _quiet(line: str) -> None:
    """Say nothing."""
