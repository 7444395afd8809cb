"""What belongs together by its name."""

import pytest

from yolo_nas_ext.data.groups import compiled, groups, merged
from yolo_nas_ext.errors import NASError

HASH = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "together",
    [
        (f"dog_jpg.rf.{HASH}.jpg", f"dog_jpg.rf.{HASH[::-1]}.jpg"),
        ("patient01_slice01.png", "patient01_slice12.png", "Patient01_3.png"),
        ("patient001_frame01.png", "patient001_frame12.png"),
        ("sub-01_ses-1_T1w.png", "sub-01_ses-2_T1w.png"),
        ("BraTS-GLI-00001-000.png", "BraTS-GLI-00001-001.png"),
        ("TCGA_CS_4941_19960909_1.tif", "TCGA_CS_4941_19960909_12.tif"),
        ("P0001__1__0___0.png", "P0001__1__0___824.png"),
        ("a_aug_1.png", "a_aug_2.png", "a_flip.png", "a.png", "a_rot90.png"),
        ("cat.png", "cat (2).png", "cat - Copy.png"),
        ("wsi3_x12_y40.png", "wsi3_x0_y512.png", "wsi3_tile_7.png"),
        ("scan_z001.png", "scan_z014.png"),
        ("p3/1.png", "p3/2.png"),
        ("a/case_12/1.png", "a/case_12/2.png"),
        ("video2_frame0012.jpg", "video2_frame0013.jpg"),
        ("train/patient01_1.png", "val/patient01_7.png"),
    ],
)
def test_together(together):
    assert len(set(groups(together))) == 1


def test_apart():
    names = (
        "img_1.png img_2.png 000001.jpg 000002.jpg benign~(1).png benign~(2).png case1.nii "
        "patient_2.png patient_3.png frame_1.png frame_2.png airplane1.jpg airplane2.jpg p1.png "
        "p2.png train/a.png val/a.png crop_1.png crop_2.png"
    )
    names = names.replace("~", " ").replace(" (", "~(").split()
    assert len(set(groups([n.replace("~", " ") for n in names]))) == len(names)


def test_an_expression_says_otherwise():
    paths = ["x/a1_1.png", "x/a1_2.png", "x/b.png"]
    assert groups(paths, compiled(r"(a\d)_")) == ["a1", "a1", "x/b.png"]
    with pytest.raises(NASError, match="not a regular expression"):
        compiled("(")


def test_answers_of_several_ways_are_joined():
    found = merged(["a", "a", "b", "c", "d"], ["1", "2", "2", "3", "4"])
    assert found[0] == found[1] == found[2] and len(set(found)) == 3
