import hashlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.helpers.shapes import picture
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import joined, overlap, read


def state(folder):
    return {
        p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_reads_what_the_host_reads(folder):
    """The oracle: Ultralytics' own data set over the same folder."""
    from ultralytics.data import YOLODataset

    data = read(folder / "data.yaml")
    host = YOLODataset(data.data["train"], data=data.data, task="detect", imgsz=64)
    assert list(data.images) == host.im_files and data.nc == 2 and data.channels == 3
    for mine, theirs in zip(data.labels, host.labels, strict=True):
        assert mine["shape"] == theirs["shape"]
        assert sorted(map(tuple, mine["bboxes"])) == sorted(map(tuple, theirs["bboxes"]))
        assert sorted(mine["cls"].ravel()) == sorted(theirs["cls"].ravel())


def test_a_folder_without_yaml(folder):
    (folder / "data.yaml").unlink()
    assert read(folder).names == {0: "class_0", 1: "class_1"}
    (folder / "classes.txt").write_text("square\nround\n")
    data = read(folder)
    assert data.names == {0: "square", 1: "round"} and data.yaml is None and len(data.images) == 12


def test_a_yaml_that_only_names_the_classes_of_a_folder(folder):
    (folder / "data.yaml").write_text("names: [square, round]")
    data = read(folder)
    assert data.names == {0: "square", 1: "round"} and data.yaml is None and len(data.images) == 12
    (folder / "data.yaml").write_text("names: {0: square, 5: round}")
    with pytest.raises(NASError, match="key 'names'"):
        read(folder)


def test_hidden_files_are_no_images(folder):
    (folder / "images" / "train" / "._000.png").write_bytes(b"left by macOS")
    data = read(folder)
    assert len(data.images) == 12 and not data.skipped


def test_a_folder_with_a_yaml_uses_it(folder):
    assert read(folder).yaml == folder / "data.yaml"


def test_nothing_is_written_and_nothing_changed(folder):
    truncated = folder / "images" / "train" / "photo.jpg"
    import cv2
    import numpy as np

    cv2.imwrite(str(truncated), np.zeros((64, 64, 3), np.uint8))
    truncated.write_bytes(truncated.read_bytes()[:-2])  # Ultralytics would rewrite this file
    before = state(folder)
    read(folder)
    assert state(folder) == before


def test_a_corrupt_image_is_named_and_skipped(folder):
    bad = folder / "images" / "train" / "003.png"
    bad.write_bytes(bad.read_bytes()[:80])
    (folder / "images" / "train" / "004.png").write_bytes(b"no image")
    data = read(folder)
    assert len(data.images) == 10 and len(data.skipped) == 2
    assert "003.png" in data.skipped[0] and "004.png" in data.skipped[1]


def test_missing_and_empty_labels_are_backgrounds(folder):
    (folder / "labels" / "train" / "000.txt").unlink()
    (folder / "labels" / "train" / "001.txt").write_text("\n")
    assert [len(label["cls"]) for label in read(folder).labels[:2]] == [0, 0]


def test_polygons_become_boxes(folder):
    for file in (folder / "labels" / "train").glob("*.txt"):
        file.write_text("1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n")
    label = read(folder).labels[0]
    assert label["bboxes"][0] == pytest.approx([0.3, 0.4, 0.4, 0.4]) and len(label["segments"]) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(folder):
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    assert len(read(folder).images) == 12


def put(name, text):
    return lambda folder: (folder / "labels" / "train" / name).write_text(text)


def names(text, train="train: images/train", val="val: images/val"):
    content = f"{train}\n{val}\nnames: {text}"
    return lambda folder: (folder / "data.yaml").write_text(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (put("002.txt", "0 .5 .5 .1 .1\n2 .5 .5 .1 .1"), r"002\.txt, line 2: class 2 .*0 to 1"),
        (put("002.txt", "-1 .5 .5 .1 .1"), r"line 1: class -1 is out of range"),
        (put("002.txt", "0.5 .5 .5 .1 .1"), r"line 1: class 0\.5 is out of range"),
        (put("002.txt", "cat .5 .5 .1 .1"), r"line 1: 'cat .* is not numbers"),
        (put("002.txt", "nan .5 .5 .1 .1"), r"line 1: class nan is out of range"),
        (put("002.txt", "1e400 .5 .5 .1 .1"), r"line 1: class 1e400 is out of range"),
        (put("002.txt", "0 .5 nan .1 .1"), r"line 1: coordinates .* not relative"),
        (put("002.txt", "0 .5 .5 -0.005 .1"), r"line 1: a box of width -0\.005"),
        (lambda f: (f / "labels/train/002.txt").write_bytes(b"\xff\xfe\0"), r"002\.txt: not a t"),
        (put("002.txt", "0 .5 .5 .1"), r"line 1: 4 values; a box has 5"),
        (put("002.txt", "0 50 60 10 10"), r"line 1: coordinates .* not relative"),
        (put("002.txt", "0 .5 .5 .1 .1\n0 0 0 0 1 1 1"), r"mixes boxes and polygons"),
        (put("002.txt", "0 .5 .5 .1 .1 .9"), r"line 1: 6 values; a box has 5"),
        (put("002.txt", "class x y w h\n0 .5 .5 .1 .1"), r"line 1: 'class x y w h' is not numbers"),
    ],
)
def test_a_bad_label_skips_its_image_as_ultralytics_does(folder, damage, message):
    damage(folder)
    data = read(folder / "data.yaml")
    assert len(data.images) == 11 and len(data.skipped) == 1
    assert "002.png" in data.skipped[0] and re.search(message, data.skipped[0])
    put("003.txt", "9 .5 .5 .1 .1")(folder)  # more than a tenth
    with pytest.raises(NASError, match=r"2 of 12 images have labels that cannot be used; .*003"):
        read(folder / "data.yaml")


def test_all_bad_labels_are_named(folder):
    for file in (folder / "labels" / "train").iterdir():
        file.write_text("9 .5 .5 .1 .1")
    with pytest.raises(NASError, match="all are named in ") as caught:
        read(folder / "data.yaml")
    listed = Path(str(caught.value).rpartition("named in ")[2])
    assert len(listed.read_text().splitlines()) == 12
    listed.unlink()


def test_the_screen_names_ten(folder):
    from dataclasses import replace

    data = replace(read(folder), skipped=tuple(f"skipped image {i}" for i in range(13)))
    assert len(data.said) == 11 and data.said[-1].startswith("3 more images are skipped, named in")


def test_boxes_here_and_polygons_there(folder):
    """The oracle: Ultralytics' own data set takes polygons as their boxes."""
    from ultralytics.data import YOLODataset

    put("002.txt", "0 .1 .2 .5 .2 .5 .6 .1 .6")(folder)
    data = read(folder / "data.yaml")
    host = YOLODataset(data.data["train"], data=data.data, task="detect", imgsz=64)
    assert any("polygons are taken as their boxes" in note for note in data.notes)
    for mine, theirs in zip(data.labels, host.labels, strict=True):
        assert mine["segments"] == theirs["segments"] == []
        assert sorted(map(tuple, mine["bboxes"])) == sorted(map(tuple, theirs["bboxes"]))
    with pytest.raises(NASError, match=r"11 of 12 images .* task=segment needs polygons"):
        read(folder / "data.yaml", "segment")


def test_polygons_in_train_alone(folder):
    for file in (folder / "labels" / "train").iterdir():
        file.write_text("1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n")
    both = joined(read(folder), read(folder, part="val"))
    assert all(label["segments"] == [] for label in both.labels)
    assert any("polygons are taken" in note for note in both.notes)


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("obb", "0 .8 .8 1.04 .8 1.04 .98 .8 .98"),
        ("segment", "0 .8 .8 1.02 .8 1.02 .9"),
        ("detect", "0 .8 .8 1.02 .8 1.02 .9"),
    ],
)
def test_corners_a_little_beyond_the_border(folder, task, line):
    for file in (folder / "labels" / "train").iterdir():
        file.write_text(line)
    assert len(read(folder, task).images) == 12


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "kept"), [("across", 12), ("within", 11)])
def test_boxes_and_polygons_of_the_inputs(name, kept, shared_inputs):
    parts = [read(shared_inputs / name / "data.yaml", part=part) for part in ("train", "val")]
    assert len(parts[0].images) == kept and len(parts[0].skipped) == 12 - kept
    both = joined(*parts)
    assert len({len(label["segments"]) == len(label["cls"]) for label in both.labels}) == 1


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("path: .\ntrain: images/train\nval: images/val", "."),
        ("train: ../images/train\nval: ../images/val", "."),
        ("train: ../images/train\nval: ../images/val", "sub"),
        ("path: ../set\ntrain: images/train\nval: images/val", "."),
        ("path: /nowhere/of/somebody\ntrain: images/train\nval: images/val", "."),
        ("path: .\ntrain: [images/train]\nvalidation: images/val", "."),
    ],
)
def test_folders_beside_the_yaml(folder, content, where, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (folder / "sub").mkdir()
    (folder / "data.yaml").unlink()
    file = folder / where / "data.yaml"
    file.write_text(f"{content}\nnames: [a, b]")
    data = read(file)
    assert len(data.images) == 12 and data.yaml == file


@pytest.mark.parametrize("layout", ["images/{}", "{}/images"])
@pytest.mark.parametrize(("train", "val"), [("train", "valid"), ("Training", "Validation")])
def test_a_folder_of_other_names(folder, layout, train, val):
    (folder / "data.yaml").unlink()
    for old, new in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            target = folder / layout.format(new).replace("images", kind)
            target.parent.mkdir(exist_ok=True)
            (folder / kind / old).rename(folder / "moved")
            (folder / "moved").rename(target)
    data = read(folder)
    assert len(data.images) == 12 and sum(len(label["cls"]) for label in data.labels) > 0
    assert len(read(folder, part="val").images) == len(list(Path(data.data["val"]).iterdir()))


@pytest.mark.parametrize("flips", ["[0, 1]", "[0, 0, 1]", "[0, 1, 3]"])
def test_flips_of_other_keypoints_are_refused_once(folder, flips):
    with (folder / "data.yaml").open("a") as file:
        file.write(f"\nkpt_shape: [3, 2]\nflip_idx: {flips}\n")
    for file in (folder / "labels" / "train").iterdir():
        file.write_text("0 .5 .5 .1 .1 .1 .1 .2 .2 .3 .3")
    with pytest.raises(NASError, match=r"key 'flip_idx' is .* each of the 3 keypoints"):
        read(folder / "data.yaml", "pose")


def test_boxes_of_a_data_set_of_poses(folder):
    with (folder / "data.yaml").open("a") as file:
        file.write("\nkpt_shape: [3, 2]\n")
    for file in (folder / "labels" / "train").iterdir():
        file.write_text("0 .5 .5 .1 .1 .1 .1 .2 .2 .3 .3")
    assert read(folder / "data.yaml").labels[0]["bboxes"].tolist() == [
        pytest.approx([0.5, 0.5, 0.1, 0.1])
    ]


@pytest.mark.parametrize(
    ("mode", "dtype"), [("float32", "float32"), ("int32", "int32"), ("uint16", None)]
)
def test_what_the_training_cannot_read_is_skipped(folder, mode, dtype):
    image = folder / "images" / "train" / "000.tif"
    (folder / "images" / "train" / "000.png").unlink()
    cv2_free = np.random.default_rng(0).integers(0, 200, (64, 64)).astype(mode)
    Image.fromarray(cv2_free).save(image)
    data = read(folder)
    assert len(data.skipped) == bool(dtype) and len(data.images) == 12 - bool(dtype)
    assert not dtype or "000.tif" in data.skipped[0]


def test_pages_that_are_not_read_are_said(folder):
    pages = [Image.new("L", (64, 64), i * 9) for i in range(3)]
    pages[0].save(folder / "images/train/000.tif", save_all=True, append_images=pages[1:])
    assert any("several pages" in note for note in read(folder).notes)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_orientations(folder, orientation, suffix):
    """The oracle: what Ultralytics decodes is as large, or the image is named and left out."""
    from ultralytics.utils.patches import imread

    array = np.zeros((64, 96, 3), np.uint8)
    array[:20, :30] = 255
    exif = Image.Exif()
    exif[274] = orientation
    image = folder / "images" / "train" / f"new.{suffix}"
    Image.fromarray(array).save(image, exif=exif)
    data = read(folder)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(image)))
    seen = imread(str(image))
    same = seen.shape == upright.shape and abs(seen[..., ::-1].astype(int) - upright).mean() < 9
    shapes = {Path(label["im_file"]).name: label["shape"] for label in data.labels}
    if same:
        assert shapes[image.name] == upright.shape[:2]
    else:
        assert image.name not in shapes and f"EXIF {orientation}" in data.skipped[0]


def test_copies_and_patients_are_kept_together(folder):
    images, labels = folder / "images" / "train", folder / "labels" / "train"
    shutil.copy(images / "000.png", images / "again.png")
    for index in (1, 2, 3):
        for place, suffix in ((images, "png"), (labels, "txt")):
            (place / f"00{index}.{suffix}").rename(place / f"patient7_slice{index}.{suffix}")
    data = read(folder)
    of = {Path(i).name: group for i, group in zip(data.images, data.groups, strict=True)}
    assert of["again.png"] == of["000.png"]
    assert len({of[f"patient7_slice{i}.png"] for i in (1, 2, 3)}) == 1
    assert len(set(data.groups)) == 13 - 1 - 2
    assert any("10 groups by their names and by equal content" in note for note in data.notes)
    assert len(set(read(folder, group=r"(\w)\w+\.png").groups)) == 2  # as 000 is again.png
    with pytest.raises(NASError, match="finds nothing"):
        read(folder, group="(hospital)")
    with pytest.raises(NASError, match="finds one group"):
        read(folder, group="(png)")


def test_what_is_in_train_and_in_val(folder):
    train, val = read(folder), read(folder, part="val")
    assert overlap(train, val) == ""
    same = overlap(train, train)
    assert "12 of the 12 images of val are training images (the same files" in same
    shutil.copy(train.images[0], Path(val.images[0]).with_name("copy.png"))
    Image.open(train.images[1]).save(Path(val.images[0]).with_name("again.bmp"))
    assert "2 of the" in overlap(train, read(folder, part="val"))
    for name in ("copy.png", "again.bmp"):
        Path(val.images[0]).with_name(name).unlink()
    large = [picture(seed, (160, 120)) for seed in range(2)]
    for one, image in enumerate(large):
        image.save(Path(train.images[one]))
    large[1].save(Path(val.images[0]).with_name("saved_again.jpg"), quality=60)
    said = overlap(read(folder), read(folder, part="val"))
    assert "1 of the" in said and "saved_again.jpg like 001.png" in said
    large[0].save(Path(train.images[0]).with_name("saved_again.jpg"), quality=60)
    grouped = read(folder)
    assert grouped.groups[0] == grouped.groups[-1] and len(set(grouped.groups)) == 12
    assert any("by how they look (1 are others saved again)" in note for note in grouped.notes)
    (folder / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [a, b]")
    assert any("BEWARE: 13 of the 13 images of val" in note for note in read(folder).notes)


def test_patients_in_train_and_in_val(folder):
    for part in ("train", "val"):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            place = folder / kind / part
            file = sorted(place.iterdir())[0]
            file.rename(place / f"patient3_{part}.{suffix}")
    assert "1 of the" in (said := overlap(read(folder), read(folder, part="val")))
    assert "groups that train has too" in said


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: shutil.rmtree(f / "labels"), "no labels at all"),
        (lambda f: shutil.rmtree(f / "images" / "val"), "val"),
        (lambda f: (f / "data.yaml").write_text("train: images/train\nval: images/val"), "names"),
        (lambda f: (f / "data.yaml").write_text("val: images/val"), "key 'train' is missing"),
        (lambda f: (f / "data.yaml").write_text("[1, 2]"), "holds no keys"),
        (lambda f: (f / "data.yaml").write_text("a: ["), "not a YAML file"),
        (names("{-1: a, 0: b}"), r"key 'names': the classes are -1, 0; number the 2 of them from"),
        (names("{one: a, two: b}"), r"key 'names': the classes are one, two;"),
        (names("[a, b]\nchannels: 0"), "channels=0: give a whole number"),
        (names("[a, b]\nchannels: rgb"), "channels='rgb': give a whole number"),
        (names("[a, b]\ntrain: [1, 2]", train=""), r"key 'train': \[1, 2\]; give a folder"),
        (names("[a, b]\npath: nowhere\ndownload: exit(3)"), "its download code exits with 3"),
        (names("[a, ../../b]"), r"'../../b' can be no class"),
        (names("{0: a, 1: /b}"), r"'/b' can be no class"),
        (names(r'["a", "b\nactivation: x"]'), "can be no class"),
        (names("[a, b]\nnc: '2'"), "nc='2': give a whole number"),
        (names("[a, b]\ntrain: images/train/000.png", train=""), "000.png is one image; give its"),
        (
            lambda f: [p.rename(p.with_suffix(".xml")) for p in (f / "labels").rglob("*.txt")],
            r"no labels at all.*; \S+labels/train/000.xml is there, which is of another format",
        ),
        (
            lambda f: [
                p.rename(f / "images/train" / p.name) for p in (f / "labels").rglob("*.txt")
            ],
            r"no labels at all.*; \S+images/train/000.txt is there, .* another format or place",
        ),
        (names("[a, b]\nvalid: images/val", val=""), "key 'val' is missing: .* it has .*valid"),
        (names("[a, b]\nnc: 1000000000000"), "nc=1000000000000: give a whole number of 0 to"),
        (names("[" + "a," * 30_001 + "]"), "30,001 classes, at most 30,000"),
        (names("[a, b]\nchannels: 1000000000"), "channels=1000000000: give a whole number"),
        (lambda f: [p.unlink() for p in (f / "images/val").iterdir()], "val: no images"),
        (lambda f: [p.unlink() for p in (f / "images/train").iterdir()], "train: no images"),
        (lambda f: [p.write_bytes(b"x") for p in (f / "images/train").iterdir()], "none of 12"),
    ],
)
def test_bad_data_is_one_clear_line(folder, damage, message):
    damage(folder)
    with pytest.raises(NASError, match=message) as caught:
        read(folder / "data.yaml")
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(NASError, match=r"no data\.yaml and no folder images/train"):
        read(tmp_path)
    with pytest.raises(NASError, match="data=cel: no such file or folder"):
        read("cel")
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(NASError, match=r"no data YAML, .* an archive is unpacked"):
        read(tmp_path / "set.zip")


@pytest.mark.realdata
def test_brain_tumour_slices(shared_data):
    data = read(shared_data / "brain_tumor")
    assert len(data.images) == 893 and data.nc == 2 and not data.skipped
    assert sum(not len(label["cls"]) for label in data.labels) == 15  # without labels in the source


def test_the_part_that_a_search_does_not_look_at(folder):
    train, val = (read(folder, part=part) for part in ("train", "val"))
    for data, part in ((train, "train"), (val, "val")):
        assert {Path(i).parent.name for i in data.images} == {part}
        assert all(Path(label["im_file"]).parent.name == part for label in data.labels)
    assert train.data == val.data and train.names == val.names
    shutil.rmtree(folder / "labels" / "val")
    with pytest.raises(NASError, match="val: no labels at all"):
        read(folder, part="val")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("0 .5 .5 .1 .1\n" * 20_001, "20,001 objects, at most 20,000"), ("0" * 20_000_001, "bytes")],
    ids=["objects", "bytes"],
)
def test_a_label_file_beyond_any_use_is_not_read(folder, text, reason, monkeypatch):
    file = next((folder / "labels" / "train").iterdir())
    file.write_text(text)
    data = read(folder)
    assert len(data.images) == 11 and reason in data.skipped[0]


def test_a_class_beyond_any_use_is_no_list_of_names(folder):
    (folder / "data.yaml").unlink()
    file = next((folder / "labels" / "train").iterdir())
    file.write_text("999999999999 .5 .5 .1 .1")
    with pytest.raises(NASError, match="class 999999999999, at most 30,000 are known"):
        read(folder)
