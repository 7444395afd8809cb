"""Public sets without the internet: what the archives hold is made small and given."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from PIL import Image

from tests.helpers.scans import nifti, phantom
from yolo_nas_ext.data.builtin import downloads
from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.files import resource
from yolo_nas_ext.host.dataset import read


def spleens(folder):
    for index in range(3):
        image, mask = phantom(noise=index)
        nifti(folder / "Task09_Spleen/imagesTr" / f"spleen_{index}.nii.gz", image)
        nifti(folder / "Task09_Spleen/labelsTr" / f"spleen_{index}.nii.gz", mask)
    text = json.dumps({"labels": {"0": "background", "1": "spleen"}})
    (folder / "Task09_Spleen/dataset.json").write_text(text)


def nuclei(folder):
    for index in range(3):
        mask = np.zeros((32, 32), np.uint8)
        mask[4:12, 4:12] = 255
        for kind, array in (("images", mask // 2 + index), ("masks", mask)):
            (folder / f"id{index}" / kind).mkdir(parents=True)
            Image.fromarray(array).save(folder / f"id{index}" / kind / f"{kind}{index}.png")


def blood(folder):
    root = folder / "BCCD_Dataset-master" / "BCCD"
    for name in ("JPEGImages", "Annotations"):
        (root / name).mkdir(parents=True)
    for index in range(4):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(root / f"JPEGImages/B{index}.jpg")
        names = ("RBC", "RBC", "WBC") if index % 2 else ("RBC", "Platelets")
        items = "".join(
            f"<object><name>{name}</name><bndbox><xmin>11</xmin><ymin>5</ymin><xmax>30</xmax>"
            "<ymax>20</ymax></bndbox></object>"
            for name in names
        )
        (root / f"Annotations/B{index}.xml").write_text(f"<annotation>{items}</annotation>")


def photos(folder):
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "val2017").mkdir(exist_ok=True)
    rows = [
        {
            "id": i,
            "image_id": i // 2,
            "category_id": 1 + i % 2,
            "bbox": [4, 4, 20, 20],
            "area": 400,
            "iscrowd": 0,
        }
        for i in range(12)
    ]
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(6)]
    for i in range(6):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(folder / f"val2017/{i}.jpg")
    kinds = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}]
    text = json.dumps({"images": images, "annotations": rows, "categories": kinds})
    (folder / "annotations/instances_val2017.json").write_text(text)


def lungs(folder):
    if (folder / "scan0.mhd").exists():
        return
    rows = []
    for index in range(3):
        array = np.random.default_rng(index).integers(-900, 0, (12, 40, 44)).astype(np.int16)
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.8, 0.9, 2.0))
        image.SetOrigin((-30.0, 12.0, -100.0))
        sitk.WriteImage(image, str(folder / f"scan{index}.mhd"))
        rows.append((f"scan{index}", -30 + 0.8 * 20, 12 + 0.9 * 15, -100 + 2 * 6, 8.0))
    with (folder / "annotations.csv").open("w", newline="") as file:
        keys = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
        csv.writer(file).writerows([keys, *rows])


HOLDS = {"msd": spleens, "dsb2018": nuclei, "bccd": blood, "coco": photos, "luna16": lungs}
FILES = {name: "coco500" if name == "coco" else name for name in HOLDS}


@pytest.mark.parametrize("name", HOLDS)
def test_a_recipe_gives_a_data_set_of_its_yaml(name, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_NAS_CACHE", str(tmp_path))
    fetched = []

    def fetch(url, folder, md5=None):
        fetched.append(url)
        folder.mkdir(parents=True, exist_ok=True)
        HOLDS[name](folder)

    monkeypatch.setattr(downloads, "fetch", fetch)
    monkeypatch.setattr(downloads, "COCO_IMAGES", 5)
    file = resource("datasets", f"{FILES[name]}.yaml")
    content = yaml.safe_load(file.read_text())
    data = read(file, "segment" if name in ("msd", "dsb2018") else "detect")
    assert data.channels == content.get("channels", 3)
    record = json.loads((tmp_path / f"public-{name}/conversion.json").read_text())
    if "remap" in record:  # indices are those that the YAML names
        names = {entry["index"]: entry["name"] for entry in record["remap"].values()}
    else:
        names = dict(enumerate(record["classes"]))
    assert names.items() <= content["names"].items()
    assert all(url.startswith("http") for url in fetched)
    assert sum(len(label["cls"]) for label in data.labels) >= 2
    n = len(fetched)
    read(file)  # from the cache
    assert len(fetched) == n and not list(tmp_path.glob("tmp*"))


def test_nodules_are_spheres_where_the_marks_say(tmp_path):
    import nibabel as nib

    lungs(tmp_path)
    mark = (-30 + 0.8 * 20, 12 + 0.9 * 15, -100 + 2.0 * 6, 8.0)
    downloads.nodules(tmp_path / "scan0.mhd", [mark], tmp_path, "a")
    mask = nib.load(tmp_path / "labels/a.nii.gz")
    array = np.asarray(mask.dataobj)
    places = np.argwhere(array)
    assert np.allclose(places.mean(0), (20, 15, 6), atol=0.1)
    volume = len(places) * 0.8 * 0.9 * 2
    assert volume == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.15)
    oracle = sitk.ReadImage(str(tmp_path / "images/a.nii.gz"))
    assert np.allclose(oracle.GetOrigin(), (-30, 12, -100), atol=1e-4)


def test_being_offline_is_no_fault_of_the_input(tmp_path):
    with pytest.raises(RunError, match="cannot be fetched"):
        downloads.fetch((tmp_path / "absent.zip").as_uri(), tmp_path)


def test_every_recipe_has_licence_and_citation():
    for name in FILES.values():
        text = resource("datasets", f"{name}.yaml").read_text()
        assert "# Licence: " in text and "# Cite: " in text


def test_without_simpleitk(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NASError, match="pip install simpleitk"):
        downloads.luna16(tmp_path, tmp_path / "out")
