"""What is odd about names, labels, lists and paths, of which Ultralytics says nothing."""

import re

import pytest
import yaml

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.doubts import of_names


def written(folder, **keys):
    """Write the data YAML with other keys and return it."""
    usual = {"train": "images/train", "val": "images/val", "names": ["square", "round"]}
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump({**usual, **keys}))
    return file


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("[no, yes]", "YAML reads 0: False, 1: True as no text"),
        ("{0: a, 1: null}", "YAML reads 1: None as no text"),
        ("[[a], b]", "YAML reads 0: ['a'] as no text"),
        ("{0: {name: a}}", "YAML reads 0: {'name': 'a'} as no text"),
        ("['', b, ' ']", "class 0, 2 has no name"),
        ("[a, b, 'a ']", "classes 0, 2 are all called a: they are 2 classes that look like one"),
        ("{0: 1, 1: 1}", "classes 0, 1 are all called 1"),
    ],
)
def test_names_that_nobody_means(names, said):
    assert said in " ".join(of_names(yaml.safe_load(names)))


@pytest.mark.parametrize("names", ["[a, b]", "{0: a, 1: B}", "[1, 2.5]", "['no', 人]", "null"])
def test_names_that_are_plain(names):
    assert of_names(yaml.safe_load(names)) == []


def test_names_are_said_with_the_data_set(folder):
    assert any("all called a" in note for note in read(written(folder, names=["a", "a"])).notes)


def test_images_without_a_label_file_are_counted(folder):
    labels = sorted((folder / "labels/train").iterdir())
    assert not any("label file" in note for note in read(folder / "data.yaml").notes)
    labels[0].rename(labels[0].with_suffix(".TXT"))
    labels[1].unlink()
    (folder / "labels/train/classes.txt").write_text("square")
    notes = " ".join(read(folder / "data.yaml").notes)
    assert f"2 of 12 images of train have no label file, such as {labels[0]}" in notes
    assert "1 label files of train have no image that is read" in notes and ".TXT" in notes


def test_a_label_whose_image_is_of_another_format_is_named(folder):
    image = sorted((folder / "images/train").iterdir())[0]
    image.rename(image.with_suffix(".gif"))
    notes = " ".join(read(folder / "data.yaml").notes)
    assert f"1 label files of train have no image that is read, such as {folder}" in notes


def test_parts_of_one_folder_are_no_labels_without_images(folder):
    every = sorted((folder / "images/train").iterdir())
    for part, images in (("train", every[:8]), ("val", every[8:])):
        (folder / f"{part}.txt").write_text("".join(f"./images/train/{i.name}\n" for i in images))
    data = read(written(folder, train="train.txt", val="val.txt"))
    assert len(data.images) == 8 and not any("label files" in note for note in data.notes)


@pytest.mark.parametrize(
    "keys",
    [
        {"train": "images\\train", "val": "images\\val"},
        {"train": ".\\images\\train", "val": ".\\images\\val"},
        {"path": "C:\\data\\set", "train": "images\\train", "val": "images\\val"},
        {"train": "C:\\data\\set\\images\\train", "val": "C:\\data\\set\\images\\val"},
        {"train": "/home/other/set/images/train", "val": "/home/other/set/images/val"},
        {"train": "/images/train", "val": "/images/val/"},
        {"path": "/home/other/set", "train": "/home/other/set/images/train"},
        {"train": ["/content/set/images/train"], "val": " images/val "},
        {"train": "\\images\\train", "val": "images\\val", "test": "images\\none"},
    ],
    ids=str,
)
def test_paths_of_another_machine_are_found_beside_the_yaml(keys, folder):
    data = read(written(folder, **keys))
    assert len(data.images) == 12
    assert any("those beside it are taken" in note for note in data.notes)


def test_the_last_name_alone_says_too_little(folder):
    with pytest.raises(NASError, match="not found"):
        read(written(folder, train="/other/images", val="/other/images"))


@pytest.mark.parametrize("value", [5, True, {"a": "images"}, [1], ["images/train", None]])
@pytest.mark.parametrize("key", ["train", "val", "test"])
def test_a_part_that_is_no_folder_is_named(key, value, folder):
    with pytest.raises(NASError, match=f"key '{key}': .*give a folder or a list of folders"):
        read(written(folder, **{key: value}))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("images/train/{}", "the first line of train.txt is 'images/train/"),
        ("/other/{}", "the first line of train.txt is '/other/"),
        ("./images/train/{} 0", "the first line of train.txt is './images/train/"),
    ],
)
def test_a_list_that_is_meant_otherwise_shows_its_first_line(line, said, folder):
    names = sorted(image.name for image in (folder / "images/train").iterdir())
    (folder / "train.txt").write_text("\n" + "".join(line.format(n) + "\n" for n in names))
    with pytest.raises(NASError, match=re.escape(said)):
        read(written(folder, train="train.txt"))


POINTS = "0 .5 .5 .2 .2 "
KINDS = [
    ("detect", "# made by a tool\n0 .5 .5 .2 .2", "line 1: '# made by a tool' is not numbers"),
    ("detect", "0 .5 .5 .2 .2\n\0\0", "line 2: "),
    ("detect", "0 .5 .5 .2 .2\n0 .5 .5 .2 .2 .9", "line 2: 6 values"),
    ("detect", "0 .5 .5 .2 .2\n0 .1 .1 .4 .1 .4 .4", "mixes boxes and polygons"),
    ("segment", "0 .1 .1 .4 .1 .4 .4\n0 .5 .5 .2 .2", "line 2: 5 values; task=segment needs"),
    ("pose", POINTS + ".5 .5 1 1.5 .5 1", "line 1: a point of its 2 is not relative"),
    ("pose", POINTS + ".5 .5 1 -1 -1 0", "line 1: a point of its 2 is not relative"),
    ("pose", POINTS + ".5 .5 1 nan .5 1", "line 1: a point of its 2 is not relative"),
]


@pytest.mark.parametrize(("task", "content", "said"), KINDS)
def test_a_bad_label_is_named_by_its_own_reason(task, content, said, folder):
    good = {"segment": "0 .1 .1 .4 .1 .4 .4", "pose": POINTS + ".5 .5 1 .6 .6 0"}
    labels = sorted((folder / "labels").rglob("*.txt"))
    for label in labels:
        label.write_text(good.get(task, "0 .5 .5 .2 .2"))
    (bad := sorted((folder / "labels/train").iterdir())[0]).write_text(content)
    data = read(written(folder, kpt_shape=[2, 3]) if task == "pose" else folder, task)
    assert len(data.images) == 11 and len(data.skipped) == 1
    assert str(bad) in data.skipped[0] and said in data.skipped[0]
