"""Which files are masks and of which scans, in layouts that public data sets have."""

import re

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.scans import nifti
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import pairing
from yolo_nas_ext.errors import NASError


def laid_out(folder, files):
    for name in files.split():
        file = folder / name.replace("~", " ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def paired(found, folder):
    return {
        e.name: sorted(m.relative_to(folder).as_posix() for m in e.masks) for e in found.entries
    }


VISITS = ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001")
# Files in a layout (~ is a space), what belongs to what, and the number of patients.
LAYOUTS = {
    "Carvana": (
        "train/a_01.jpg train/b_01.jpg train_masks/a_01_mask.gif train_masks/b_01_mask.gif",
        {
            "train/a_01.jpg": "train_masks/a_01_mask.gif",
            "train/b_01.jpg": "train_masks/b_01_mask.gif",
        },
        2,
    ),
    "BUSI": (
        "b/b~(1).png b/b~(1)_mask.png b/b~(2).png b/b~(2)_mask.png b/b~(2)_mask_1.png",
        {"b/b (1).png": "b/b (1)_mask.png", "b/b (2).png": "b/b (2)_mask.png b/b (2)_mask_1.png"},
        2,
    ),
    "DRIVE, whose `mask` is the field of view": (
        "t/images/21_training.tif t/1st_manual/21_manual1.gif t/mask/21_training_mask.gif",
        {"t/images/21_training.tif": "t/1st_manual/21_manual1.gif"},
        1,
    ),
    "CHASE, of two readers": (
        "Image_01L.jpg Image_01L_1stHO.png Image_01L_2ndHO.png",
        {"Image_01L.jpg": "Image_01L_1stHO.png"},
        1,
    ),
    "LiTS": (
        "volume-0.nii volume-1.nii segmentation-0.nii segmentation-1.nii",
        {"volume-0.nii": "segmentation-0.nii", "volume-1.nii": "segmentation-1.nii"},
        2,
    ),
    "ISIC": (
        "ISIC_Task1-2_Input/I_0.jpg ISIC_Task1_GroundTruth/I_0_segmentation.png",
        {"ISIC_Task1-2_Input/I_0.jpg": "ISIC_Task1_GroundTruth/I_0_segmentation.png"},
        1,
    ),
    "a word for masks in the name of the whole": (
        "Kvasir-SEG/images/a.jpg Kvasir-SEG/masks/a.jpg",
        {"Kvasir-SEG/images/a.jpg": "Kvasir-SEG/masks/a.jpg"},
        1,
    ),
    "CVC": (
        "Original/1.png Original/2.png Ground~Truth/1.png Ground~Truth/2.png",
        {"Original/1.png": "Ground Truth/1.png", "Original/2.png": "Ground Truth/2.png"},
        2,
    ),
    "VOC with its instances": (
        "JPEGImages/0.jpg SegmentationClass/0.png SegmentationObject/0.png",
        {"JPEGImages/0.jpg": "SegmentationClass/0.png"},
        1,
    ),
    "Cityscapes": (
        "leftImg8bit/x/x_01_leftImg8bit.png gtFine/x/x_01_gtFine_labelIds.png "
        "gtFine/x/x_01_gtFine_color.png gtFine/x/x_01_gtFine_instanceIds.png",
        {"leftImg8bit/x/x_01_leftImg8bit.png": "gtFine/x/x_01_gtFine_labelIds.png"},
        1,
    ),
    "ACDC, two frames of a patient": (
        "p/patient001_frame01.nii.gz p/patient001_frame01_gt.nii.gz "
        "p/patient001_frame12.nii.gz p/patient001_frame12_gt.nii.gz",
        {
            "p/patient001_frame01.nii.gz": "p/patient001_frame01_gt.nii.gz",
            "p/patient001_frame12.nii.gz": "p/patient001_frame12_gt.nii.gz",
        },
        1,
    ),
    "LGG, slices of a patient": (
        "TCGA_CS_4941_1/TCGA_CS_4941_1_1.tif TCGA_CS_4941_1/TCGA_CS_4941_1_1_mask.tif "
        "TCGA_CS_4941_1/TCGA_CS_4941_1_2.tif TCGA_CS_4941_1/TCGA_CS_4941_1_2_mask.tif",
        {
            "TCGA_CS_4941_1/TCGA_CS_4941_1_1.tif": "TCGA_CS_4941_1/TCGA_CS_4941_1_1_mask.tif",
            "TCGA_CS_4941_1/TCGA_CS_4941_1_2.tif": "TCGA_CS_4941_1/TCGA_CS_4941_1_2_mask.tif",
        },
        1,
    ),
    "sides in folders": (
        "images/train/a.png masks/train/a.png images/val/a.png masks/val/a.png",
        {"images/train/a.png": "masks/train/a.png", "images/val/a.png": "masks/val/a.png"},
        2,
    ),
    "sides in names": (
        "train_images/a.png train_masks/a.png val_images/a.png val_masks/a.png",
        {"train_images/a.png": "train_masks/a.png", "val_images/a.png": "val_masks/a.png"},
        2,
    ),
    "KiTS, of which each instance has a file, too": (
        "case_0/imaging.nii.gz case_0/segmentation.nii.gz case_0/instances/tumor_instance-1.nii.gz",
        {"case_0/imaging.nii.gz": "case_0/segmentation.nii.gz"},
        1,
    ),
    "BIDS": (
        "sub-01/ses-1/sub-01_ses-1_T1w.nii sub-01/ses-2/sub-01_ses-2_T1w.nii "
        "derivatives/labels/sub-01/ses-1/sub-01_ses-1_T1w_label-lesion_mask.nii "
        "derivatives/labels/sub-01/ses-2/sub-01_ses-2_T1w_label-lesion_mask.nii",
        {
            f"sub-01/ses-{n}/sub-01_ses-{n}_T1w.nii": (
                f"derivatives/labels/sub-01/ses-{n}/sub-01_ses-{n}_T1w_label-lesion_mask.nii"
            )
            for n in (1, 2)
        },
        1,
    ),
    "contrasts that are called by nothing else": (
        "P-1/t1.nii P-1/t2.nii P-1/seg.nii P-2/t1.nii P-2/t2.nii P-2/seg.nii",
        {f"P-{p}/t{t}.nii": f"P-{p}/seg.nii" for p in (1, 2) for t in (1, 2)},
        2,
    ),
    "two visits of BraTS 2023": (
        " ".join(f"{v}/{v}-{k}.nii" for v in VISITS for k in ("t1n", "seg")),
        {f"{v}/{v}-t1n.nii": f"{v}/{v}-seg.nii" for v in VISITS},
        1,
    ),
    "SegTHOR": (
        "Patient_01/Patient_01.nii.gz Patient_01/GT.nii.gz",
        {"Patient_01/Patient_01.nii.gz": "Patient_01/GT.nii.gz"},
        1,
    ),
    "a word before the number": (
        "img/img_1.png img/img_2.png msk/mask_001.png msk/mask_002.png",
        {"img/img_1.png": "msk/mask_001.png", "img/img_2.png": "msk/mask_002.png"},
        2,
    ),
    "upper case": (
        "IMAGES/a.PNG IMAGES/b.PNG LABELS/a.PNG LABELS/b.PNG",
        {"IMAGES/a.PNG": "LABELS/a.PNG", "IMAGES/b.PNG": "LABELS/b.PNG"},
        2,
    ),
    "a word of its own before masks": (
        "P1/P1_T1.nii P1/P1_FLAIR.nii P1/P1_consensus_gt.nii "
        "P2/P2_T1.nii P2/P2_FLAIR.nii P2/P2_consensus_gt.nii",
        {
            f"P{p}/P{p}_{c}.nii": f"P{p}/P{p}_consensus_gt.nii"
            for p in (1, 2)
            for c in ("T1", "FLAIR")
        },
        2,
    ),
    "BIDS, a mask for all contrasts": (
        "sub-1/anat/sub-1_T1w.nii sub-1/anat/sub-1_FLAIR.nii "
        "sub-2/anat/sub-2_T1w.nii sub-2/anat/sub-2_FLAIR.nii "
        "derivatives/manual/sub-1/anat/sub-1_space-orig_desc-lesion_mask.nii "
        "derivatives/manual/sub-2/anat/sub-2_space-orig_desc-lesion_mask.nii",
        {
            f"sub-{s}/anat/sub-{s}_{c}.nii": (
                f"derivatives/manual/sub-{s}/anat/sub-{s}_space-orig_desc-lesion_mask.nii"
            )
            for s in (1, 2)
            for c in ("T1w", "FLAIR")
        },
        2,
    ),
    "BIDS, a mask of one contrast": (
        "sub-1/sub-1_T1w.nii sub-1/sub-1_FLAIR.nii sub-2/sub-2_T1w.nii sub-2/sub-2_FLAIR.nii "
        "derivatives/x/sub-1/sub-1_FLAIR_label-lesion_dseg.nii "
        "derivatives/x/sub-2/sub-2_FLAIR_label-lesion_dseg.nii",
        {
            f"sub-{s}/sub-{s}_FLAIR.nii": (
                f"derivatives/x/sub-{s}/sub-{s}_FLAIR_label-lesion_dseg.nii"
            )
            for s in (1, 2)
        },
        2,
    ),
    "ISLES, one patient": (
        "sub-s1/ses-1/sub-s1_ses-1_adc.nii sub-s1/ses-1/sub-s1_ses-1_dwi.nii "
        "derivatives/sub-s1/ses-1/sub-s1_ses-1_msk.nii",
        {
            f"sub-s1/ses-1/sub-s1_ses-1_{c}.nii": "derivatives/sub-s1/ses-1/sub-s1_ses-1_msk.nii"
            for c in ("adc", "dwi")
        },
        1,
    ),
    "ISBI 2015, visits and two readers": (
        "t01/orig/t01_01_flair_pp.nii t01/masks/t01_01_mask1.nii t01/masks/t01_01_mask2.nii "
        "t01/orig/t01_02_flair_pp.nii t01/masks/t01_02_mask1.nii t01/masks/t01_02_mask2.nii",
        {f"t01/orig/t01_0{v}_flair_pp.nii": f"t01/masks/t01_0{v}_mask1.nii" for v in (1, 2)},
        2,
    ),
    "visits": (
        "images/P1.nii images/P1_followup.nii images/P2_baseline.nii "
        "labels/P1.nii labels/P1_followup.nii labels/P2_baseline.nii",
        {f"images/{n}.nii": f"labels/{n}.nii" for n in ("P1", "P1_followup", "P2_baseline")},
        2,
    ),
    "dates": (
        "images/A12_20190101.nii images/A12_20200101.nii images/A7_20200101.nii "
        "labels/A12_20190101.nii labels/A12_20200101.nii labels/A7_20200101.nii",
        {
            f"images/{n}.nii": f"labels/{n}.nii"
            for n in ("A12_20190101", "A12_20200101", "A7_20200101")
        },
        2,
    ),
    "GlaS": (
        "train_1.bmp train_1_anno.bmp train_10.bmp train_10_anno.bmp",
        {"train_1.bmp": "train_1_anno.bmp", "train_10.bmp": "train_10_anno.bmp"},
        2,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_are_found(layout, tmp_path):
    files, expected, patients = LAYOUTS[layout]
    found = pairing.find(str(laid_out(tmp_path / "in", files)))
    assert {name: " ".join(masks) for name, masks in paired(found, tmp_path / "in").items()} == (
        expected
    )
    assert found.labelled and not found.orphans
    assert len({e.patient for e in found.entries}) == patients
    assert any("masks found of" in note for note in found.notes)


def test_a_file_or_a_folder_a_class(tmp_path):
    for name, files in (
        ("files", "s1/ct.nii s1/segmentations/liver.nii s1/segmentations/spleen.nii "
                  "s2/ct.nii s2/segmentations/liver.nii s2/segmentations/spleen.nii"),
        ("folders", "images/1.png images/2.png masks/liver/1.png masks/spleen/1.png "
                    "masks/liver/2.png masks/spleen/2.png"),
        ("names", "1.png 1_liver_mask.png 1_spleen_mask.png 2.png 2_liver_mask.png "
                  "2_spleen_mask.png"),
    ):  # fmt: skip
        found = pairing.find(str(laid_out(tmp_path / name, files)))
        assert found.names == {1: "liver", 2: "spleen"}
        for entry in found.entries:
            assert [found.names[label] in mask.as_posix() for label, mask in
                    zip(entry.labels, entry.masks, strict=True)] == [True, True]  # fmt: skip


def noise(shape):
    return np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)


def structures(folder, cases):
    """CT-like scans with a file a structure: a box of its own place and size each."""
    boxes = {"liver": (2, 9), "spleen": (14, 18), "kidney_left": (22, 25), "kidney_right": (27, 32)}
    for case, names in cases.items():
        rng = np.random.default_rng(len(case))
        nifti(folder / case / "ct.nii.gz", rng.integers(0, 99, (36, 36, 3)).astype(np.int16))
        for name in names.split():
            mask = np.zeros((36, 36, 3), np.uint8)
            start, end = boxes[name]
            mask[start:end, start:end] = 1
            nifti(folder / case / "segmentations" / f"{name}.nii.gz", mask)
    return folder


def widths(out):
    """The widths in pixels of the boxes of each class."""
    names = yaml.safe_load((out / "data.yaml").read_text())["names"]
    found = {}
    for file in (out / "labels").rglob("*.txt"):
        for line in file.read_text().splitlines():
            row = line.split()
            found.setdefault(names[int(row[0])], set()).add(round(float(row[3]) * 36))
    return found


@pytest.mark.parametrize("names", [None, "1:liver,2:spleen", "1:spleen,2:Liver"])
def test_a_case_without_a_structure_keeps_the_others_names(names, tmp_path):
    source = structures(tmp_path / "in", {"a": "liver spleen", "b": "spleen", "c": "liver spleen"})
    given = {"source": str(source), "out": str(tmp_path / "out"), "values": "classes"}
    assert data.main({**given, **({"names": names} if names else {})}) == 0
    found = {name.lower(): w for name, w in widths(tmp_path / "out").items()}
    assert found == {"liver": {7}, "spleen": {4}}


def test_structures_of_one_case_and_of_one_file_a_case(tmp_path):
    source = structures(tmp_path / "in", {"a": "kidney_left kidney_right"})
    assert data.main({"source": str(source / "a"), "out": str(tmp_path / "a")}) == 0
    assert widths(tmp_path / "a") == {"kidney_left": {3}, "kidney_right": {5}}
    source = structures(tmp_path / "each", {"a": "spleen", "b": "liver", "c": "liver"})
    assert data.main({"source": str(source), "out": str(tmp_path / "b")}) == 0
    assert widths(tmp_path / "b") == {"liver": {7}, "spleen": {4}}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("1:liver", "there is a spleen, too"),
        ("1:liver,2:kidney", "there is no kidney"),
        ("1:a,2:b,3:c", "give each a name by these numbers"),
    ],
)
def test_names_are_checked_against_the_structures_before_anything(names, message, tmp_path):
    source = structures(tmp_path / "in", {"a": "liver spleen", "b": "spleen"})
    with pytest.raises(NASError, match=message):
        data.main({"source": str(source), "out": str(tmp_path / "out"), "names": names})
    assert [f.name for f in tmp_path.iterdir()] == ["in"]


def test_structures_are_renamed_and_left_out(tmp_path):
    source = structures(tmp_path / "in", {"a": "liver spleen", "b": "spleen liver"})
    given = {"source": str(source)}
    assert data.main({**given, "out": str(tmp_path / "a"), "names": "1:Leber,2:Milz"}) == 0
    assert widths(tmp_path / "a") == {"Leber": {7}, "Milz": {4}}
    assert data.main({**given, "out": str(tmp_path / "b"), "names": "1:spleen,2:-"}) == 0
    assert widths(tmp_path / "b") == {"spleen": {4}}


def test_a_file_of_one_structure_has_one_label(tmp_path, capsys):
    source = structures(tmp_path / "in", {c: "liver spleen" for c in "abc"})
    mask = np.zeros((36, 36, 3), np.uint8)
    mask[1:5, 1:5], mask[8:12, 8:12] = 1, 2
    nifti(source / "b" / "segmentations" / "liver.nii.gz", mask)
    assert data.main({"source": str(source), "out": str(tmp_path / "out")}) == 3
    assert "liver.nii.gz of one structure with the labels 1, 2" in capsys.readouterr().out


def test_files_that_name_no_class_are_no_classes(tmp_path):
    source = tmp_path / "in"
    for case in "ab":
        nifti(source / f"{case}.nii.gz", noise((20, 20, 2)))
        for k in range(2):
            mask = np.zeros((20, 20, 2), np.uint8)
            mask[2 + 9 * k : 6 + 9 * k, 2:6] = 1
            nifti(source / f"{case}_seg_{k}{case}9.nii.gz", mask)
    with pytest.raises(NASError, match=r"values=classes: .* whose names say no class"):
        data.main({"source": str(source), "values": "classes"})


def test_an_unsure_patient_is_said_with_what_to_type(tmp_path):
    files = "A12_1.nii A12_2.nii A7_1.nii"
    notes = pairing.find(str(laid_out(tmp_path, files))).notes
    (said,) = [note for note in notes if note.startswith("unsure")]
    assert "A12_1.nii and A12_2.nii count as two patients" in said
    group = re.search("group='(.*)'", said)[1]
    assert len({e.patient for e in pairing.find(str(tmp_path), group=group).entries}) == 2


@pytest.mark.parametrize("names", [("{}_FLAIR", "{}_lesion"), ("{}/t1", "{}/plaques")])
def test_an_ordinary_word_for_masks_is_known_by_its_look(names, tmp_path):
    for who in ("patient07", "patient08"):
        array = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.int16)
        for pattern, values in zip(names, (array, (array > 200).astype(np.int16)), strict=True):
            nifti(tmp_path / f"{pattern.format(who)}.nii.gz", values)
    found = pairing.find(str(tmp_path))
    assert paired(found, tmp_path) == {
        f"{names[0].format(w)}.nii.gz": [f"{names[1].format(w)}.nii.gz"]
        for w in ("patient07", "patient08")
    }
    assert len({e.patient for e in found.entries}) == 2


def test_a_file_and_its_mask_need_no_names(tmp_path):
    laid_out(tmp_path, "a.nii.gz b.nii.gz")
    found = pairing.find(str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz"))
    assert paired(found, tmp_path) == {"a.nii.gz": ["b.nii.gz"]}


def test_other_masks_of_the_same_folder_are_no_scans(tmp_path):
    files = (
        "images/a.nii images/b.nii masks/a.nii masks/b.nii second_masks/a.nii second_masks/b.nii"
    )
    laid_out(tmp_path, files)
    found = pairing.find(str(tmp_path), str(tmp_path / "second_masks"))
    assert paired(found, tmp_path) == {f"images/{n}.nii": [f"second_masks/{n}.nii"] for n in "ab"}


def test_scans_that_look_like_masks_are_said(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, most in (("a", 255), ("b", 255), ("c", 2)):
        nifti(tmp_path / f"{name}.nii.gz", rng.integers(0, most, (20, 20, 2)).astype(np.uint8))
    assert data.main({"source": str(tmp_path)}) == 0
    assert "look like masks; leave them out, or give them by masks=: 1 scans, c.nii.gz" in (
        capsys.readouterr().out
    )


def test_what_is_not_read_is_named(tmp_path, capsys):
    laid_out(tmp_path, "slide.svs cells.zip a.npy notes.txt preview.png")
    nifti(tmp_path / "a.nii.gz", noise((20, 20, 2)))
    assert data.main({"source": str(tmp_path)}) == 3
    said = capsys.readouterr().out
    for name in ("slide.svs is of a microscope", "cells.zip is an archive", "a.npy holds numbers"):
        assert f"skipped: {name}" in said
    assert ".txt (1)" in said and "1 pictures beside volumes are left out, such as preview" in said


def test_classes_in_files_of_their_own_are_written(tmp_path):
    picture = np.random.default_rng(0).integers(0, 200, (32, 32), dtype=np.uint8)
    liver, spleen = np.zeros_like(picture), np.zeros_like(picture)
    liver[2:10, 2:10], spleen[20:28, 20:28] = 255, 1
    for name, array in (("images", picture), ("masks/liver", liver), ("masks/spleen", spleen)):
        (tmp_path / "in" / name).mkdir(parents=True)
        for scan in "ab":
            Image.fromarray(array).save(tmp_path / "in" / name / f"{scan}.png")
    assert data.main({"source": str(tmp_path / "in"), "out": str(tmp_path / "out")}) == 0
    lines = [f.read_text().splitlines() for f in (tmp_path / "out/labels").rglob("*.txt")]
    assert sorted(lines[0]) == sorted(lines[1]) and [r.split()[0] for r in lines[0]] == ["0", "1"]
    assert "names:\n  0: liver\n  1: spleen" in (tmp_path / "out/data.yaml").read_text()


def test_the_channels_of_a_scan_are_said(tmp_path):
    files = "imagesTr/c_001_0000.nii imagesTr/c_001_0001.nii labelsTr/c_001.nii"
    found = pairing.find(str(laid_out(tmp_path, files)))
    assert paired(found, tmp_path) == {"imagesTr/c_001_0000.nii": ["labelsTr/c_001.nii"]}
    assert any("0000 is taken; volume=" in note for note in found.notes)


def test_what_is_called_a_mask_and_fits_nothing_is_no_scan(tmp_path):
    files = "mask_001.png mask_002.png plain_003.png"
    found = pairing.find(str(laid_out(tmp_path, files)))
    assert not found.labelled and [e.name for e in found.entries] == ["plain_003.png"]
    assert [name for name, reason in found.bad if "masks=none" in reason] == files.split()[:2]
    assert len(pairing.find(str(tmp_path), "none").entries) == 3
    files = "a.png a_mask.png b.png b_mask.png c_mask.png"
    found = pairing.find(str(laid_out(tmp_path / "more", files)))
    assert len(found.entries) == 2 and found.orphans == ["c_mask.png"]


def test_a_folder_of_faces_with_masks_is_one_of_pictures(tmp_path):
    """The kind of data set whose classes are called as masks are."""
    found = pairing.find(str(laid_out(tmp_path, "mask/a.png mask/b.png no_mask/c.png")))
    assert len(found.entries) == 3 and not found.labelled


@pytest.mark.parametrize("layout", [("A/{}.png", "B/{}.png"), ("{}.png", "{}.ah.png")])
def test_masks_are_known_by_their_look_where_no_name_says_so(layout, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        for pattern, many in zip(layout, (True, False), strict=True):
            array = rng.integers(0, 255, (16, 16), dtype=np.uint8)
            file = tmp_path / pattern.format(name)
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(array if many else (array > 99).astype(np.uint8) * 255).save(file)
    found = pairing.find(str(tmp_path))
    assert paired(found, tmp_path) == {
        layout[0].format(n): [layout[1].format(n)] for n in ("one", "two")
    }
    assert any("hold few values" in note for note in found.notes)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("layout", "scans", "patients"),
    [
        ("brats", 16, 4),
        ("brats23", 16, 4),
        ("kits", 4, 4),
        ("capital", 4, 4),
        ("gtfolder", 4, 4),
        ("drive", 4, 4),
        ("voc", 4, 4),
        ("cellpose", 3, 3),
        ("cellpose2", 3, 3),
    ],
)
def test_public_layouts(layout, scans, patients, shared_inputs, capsys):
    source = shared_inputs / "mask_layouts" / layout
    found = pairing.find(str(source))
    assert all(len(entry.masks) == 1 for entry in found.entries)
    assert data.main({"source": str(source)}) == 0
    said = capsys.readouterr().out
    assert f"scans, patients       {scans}, {patients}\n" in said and "masks found of" in said


@pytest.mark.parametrize(
    ("scan", "mask"),
    [
        ("imagesVa/amos_{:04d}", "labelsVa/amos_{:04d}"),  # scans, though they end as channels do
        ("IMG_{:04d}", "MASK_{:04d}"),
        (
            "sub-{0:02d}/ses-01/anat/sub-{0:02d}_ses-01_T1w",
            "derivatives/manual/sub-{0:02d}/ses-01/anat/sub-{0:02d}_ses-01_label-lesion_mask",
        ),
    ],
    ids=("amos", "numbers", "bids"),
)
def test_numbers_that_are_whose_a_scan_is(scan, mask, tmp_path):
    for who in (1, 2, 3):
        for name in (scan, mask):
            file = tmp_path / f"{name.format(who)}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    found = pairing.find(str(tmp_path))
    assert len({entry.patient for entry in found.entries}) == 3 and not found.structures
    assert {(e.name, tuple(map(str, e.masks))) for e in found.entries} == {
        (f"{scan.format(who)}.nii.gz", (str(tmp_path / f"{mask.format(who)}.nii.gz"),))
        for who in (1, 2, 3)
    }


def test_parts_of_a_split_are_no_structures(tmp_path):
    for part, numbers in (("Tr", (1, 2, 3)), ("Va", (11, 12))):
        for number in numbers:
            for folder in ("images", "labels"):
                file = tmp_path / f"{folder}{part}/word_{number:04d}.nii.gz"
                file.parent.mkdir(exist_ok=True)
                file.touch()
    found = pairing.find(str(tmp_path))
    assert len(found.entries) == 5 and not found.names
    assert all(len(entry.masks) == 1 for entry in found.entries)
