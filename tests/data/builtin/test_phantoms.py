import json
import shutil

import numpy as np
import pytest
import yaml

from yolo_nas_ext.data.builtin import phantoms
from yolo_nas_ext.host.dataset import read


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setenv("YOLO_NAS_CACHE", str(tmp_path))
    sizes = {"lesions": {"patients": 4}, "nuclei": {"images": 6}}
    sets = {
        name: (lambda folder, write=write, name=name: write(folder, **sizes[name]), options)
        for name, (write, options) in phantoms.SETS.items()
    }
    monkeypatch.setattr(phantoms, "SETS", sets)
    return tmp_path


@pytest.mark.parametrize(("name", "channels"), [("lesions", 1), ("nuclei", 3)])
def test_shipped_sets_are_made_once_and_read(name, channels, small, root):
    data = read(name, "segment")
    content = yaml.safe_load((root / "datasets" / f"{name}.yaml").read_text())
    assert data.names == content["names"] and data.channels == content["channels"] == channels
    assert sum(len(label["segments"]) for label in data.labels) >= 10
    folder = small / f"{name}-v{phantoms.VERSION}"
    record = (folder / "conversion.json").read_text()
    assert json.loads(record)["counts"]["skipped"] == 0
    stamp = (folder / "conversion.json").stat().st_mtime_ns
    phantoms.ensure(name)
    assert (folder / "conversion.json").stat().st_mtime_ns == stamp
    pictures = {f.name: f.read_bytes() for f in folder.rglob("*.png")}
    shutil.rmtree(folder)
    phantoms.ensure(name)
    assert {f.name.split("_")[-1] for f in folder.rglob("*.png")} == {
        n.split("_")[-1] for n in pictures
    }


def test_tumours_differ_from_the_liver(tmp_path):
    import nibabel as nib

    phantoms.write_lesions(tmp_path, patients=1)
    image = np.asarray(nib.load(tmp_path / "images/phantom00.nii.gz").dataobj)
    mask = np.asarray(nib.load(tmp_path / "labels/phantom00.nii.gz").dataobj)
    assert image.min() < -900 and 60 < image[mask > 0].mean() < 140 and 50 < mask.sum()
