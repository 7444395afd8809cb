"""What sees all and nothing else scores exactly 1, on every set that is shipped or given."""

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from yolo_nas_ext.commands import data
from yolo_nas_ext.compare.pictures import true_boxes
from yolo_nas_ext.data import lesions
from yolo_nas_ext.data.builtin.phantoms import write_lesions, write_nuclei
from yolo_nas_ext.data.naming import place
from yolo_nas_ext.data.scans.volumes import stem_of
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.metrics import froc


def converted(source, tmp_path, **keys):
    """Convert scans; return the data set and which scan has which pseudonym."""
    linkage = tmp_path / "linkage.csv"
    given = {"source": str(source), "out": str(tmp_path / "set"), "linkage": str(linkage)}
    data.main({**given, "val": 0.5, **keys})
    with linkage.open(newline="") as file:
        return tmp_path / "set", {row["pseudonym"]: row["scan"] for row in csv.DictReader(file)}


def seen(folder, task):
    """Return the true boxes of val by their pictures, and the lesions that the data set says."""
    found = read(folder, task, part="val")
    boxes = {
        str(label["im_file"]).rpartition("/")[2][:-4]: true_boxes(label) for label in found.labels
    }
    return boxes, found.lesions


def check(folder, task):
    """Hold that true boxes fed in as predictions are perfect, by masks and by boxes alone."""
    truth, known = seen(folder, task)
    assert set(truth) <= set(known)
    for given, how in ((known, lesions.BY_MASKS), ({}, lesions.BY_BOXES)):
        assert froc.evaluate(truth, truth, known=given)["froc_cpm"] == 1
        scans, said = froc.patients(truth, truth, given)
        assert said == how and not any(false for own in scans.values() for _, false, _ in own)
    return truth, known


def counted(mask):
    labels = [v for v in np.unique(mask) if v]
    return sum(ndimage.label(mask == v, np.ones((3, 3, 3)))[1] for v in labels)


@pytest.mark.parametrize("task", ("detect", "segment"))
def test_drawn_lesions(task, tmp_path):
    write_lesions(tmp_path / "in", patients=3)
    folder, names = converted(tmp_path / "in", tmp_path, task=task, window="liver")
    truth, known = check(folder, task)
    scans = {place(stem)[1] for stem in truth}
    for scan in scans:
        of = {lesion for stem in truth if place(stem)[1] == scan for lesion in known[stem]}
        mask = nib.load(tmp_path / "in/labels" / f"{stem_of(tmp_path / names[scan])}.nii.gz")
        mask = np.asarray(mask.dataobj)
        assert len(of) == counted(mask)
        assert sum(lesions.voxels(folder)[scan]) == (mask > 0).sum()
        assert len([s for s in truth if place(s)[1] == scan]) == mask.shape[2]  # every slice


def test_nuclei_that_touch(tmp_path):
    write_nuclei(tmp_path / "in")
    folder, _ = converted(tmp_path / "in", tmp_path, task="segment")
    truth, known = check(folder, "segment")
    assert all(len(set(known[stem])) == len(rows) for stem, rows in truth.items())


@pytest.mark.realdata
def test_hippocampi(shared_data, tmp_path):
    given = shared_data / "msd_hippocampus"
    for folder in ("images", "labels"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        for file in sorted((given / "labels").glob("*.nii.gz"))[:6]:
            shutil.copy(given / folder / file.name, tmp_path / "in" / folder)
    folder, names = converted(tmp_path / "in", tmp_path, task="segment")
    truth, known = check(folder, "segment")
    for scan in {place(stem)[1] for stem in truth}:
        of = {lesion for stem in truth if place(stem)[1] == scan for lesion in known[stem]}
        mask = nib.load(tmp_path / "in/labels" / names[scan].rpartition("/")[2])
        assert len(of) == counted(np.asarray(mask.dataobj))
