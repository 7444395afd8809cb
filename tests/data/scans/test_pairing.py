"""Which files are masks and of which scans, in layouts that public data sets have."""

import numpy as np
import pytest
from PIL import Image

from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import pairing


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


def test_what_is_called_a_mask_and_fits_nothing_is_said(tmp_path):
    files = "mask_001.png mask_002.png plain_003.png"
    found = pairing.find(str(laid_out(tmp_path, files)))
    assert not found.labelled and len(found.entries) == 3
    assert any("fit no scans and are taken for pictures" in note for note in found.notes)
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
