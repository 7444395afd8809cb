"""What exporters write in other ways than COCO, and a split that is there already."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as rle

from yolo_nas_ext.commands.data import main as coco_main
from yolo_nas_ext.data.coco.convert import import_coco
from yolo_nas_ext.errors import NASError

SHAPE = [[4, 3, 24, 3, 24, 18, 4, 18]]


def made(folder, n=6):
    """Write n images of 40 x 30 with a box each and return their JSON."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(n)
    for i in range(n):
        array = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(array).save(folder / "images" / f"im{i}.png")
    return {
        "images": [
            {"id": i + 1, "file_name": f"im{i}.png", "width": 40, "height": 30} for i in range(n)
        ],
        "annotations": [
            {
                "id": i + 1,
                "image_id": i + 1,
                "category_id": 1 + i % 2,
                "bbox": [4, 3, 20, 15],
                "segmentation": SHAPE,
                "iscrowd": 0,
            }
            for i in range(n)
        ],
        "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "gap"}],
    }


def each(part, **change):
    def edit(data):
        for row in data[part]:
            for key, value in change.items():
                row[key] = value(row[key]) if callable(value) else value
        return data

    return edit


def without(part, key):
    def edit(data):
        for row in data[part]:
            del row[key]
        return data

    return edit


def both(*edits):
    def edit(data):
        for one in edits:
            data = one(data)
        return data

    return edit


def more(part, rows):
    return lambda data: {**data, part: [*data[part], *rows(data)]}


KINDS = {
    "ids as text": both(
        each("images", id=lambda i: f"a{i}"), each("annotations", image_id=lambda i: f"a{i}")
    ),
    "ids as numbers in text": each("annotations", image_id=str, category_id=str),
    "ids as floats": each("annotations", image_id=float, category_id=float, id=float),
    "ids that are UUIDs": both(
        each("categories", id=lambda i: f"b9c-{i}"),
        each("annotations", category_id=lambda i: f"b9c-{i}"),
    ),
    "annotations without ids": without("annotations", "id"),
    "annotations of one id": each("annotations", id=1),
    "annotations without boxes": without("annotations", "bbox"),
    "boxes that are null": each("annotations", bbox=None),
    "boxes as text": each("annotations", bbox=lambda box: [str(v) for v in box]),
    "sizes as text": each("images", width=str, height=str),
    "sizes as floats": each("images", width=float, height=float),
    "no sizes": both(without("images", "width"), without("images", "height")),
    "crowds as text": each("annotations", iscrowd="0"),
    "crowds that are false": each("annotations", iscrowd=False),
    "a folder before the name": each("images", file_name=lambda n: f"images/{n}"),
    "Windows": each("images", file_name=lambda n: f"data\\images\\{n}"),
    "a drive": each("images", file_name=lambda n: f"C:\\Users\\me\\{n}"),
    "another machine": each("images", file_name=lambda n: f"/home/me/images/{n}"),
    "a URL": each("images", file_name=lambda n: f"https://host/data/images/{n}?token=1"),
    "no suffix": each("images", file_name=lambda n: n.removesuffix(".png")),
    "upper case": each("images", file_name=lambda n: n.upper()),
    "another key for the name": lambda d: {
        **d,
        "images": [{**{k: v for k, v in r.items() if k != "file_name"}, "path": r["file_name"]}
                   for r in d["images"]],
    },
    "boxes twice": more("annotations", lambda d: [{**a, "id": 99} for a in d["annotations"]]),
    "images twice under one id": more("images", lambda d: d["images"]),
    "categories of one name": both(
        more("categories", lambda d: [{"id": 3, "name": "cell"}]),
        lambda d: {**d, "annotations": [{**a, "category_id": 3 if a["category_id"] == 1 else 2}
                                        for a in d["annotations"]]},
    ),
    "a bad row among good ones": more("annotations", lambda d: [{"id": 1}, "x", {"image_id": 1}]),
    "a category that is not listed": more(
        "annotations", lambda d: [{**d["annotations"][0], "category_id": 77}]
    ),
    "a polygon that is flat": each("annotations", segmentation=lambda s: s[0]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["detect", "segment"])
def test_taken_where_the_meaning_is_clear(kind, task, tmp_path):
    data = KINDS[kind](made(tmp_path))
    (tmp_path / "a.json").write_text(json.dumps(data))
    summary = import_coco(tmp_path / "a.json", tmp_path / "images", tmp_path / "out", task=task)
    assert (summary.train + summary.val, summary.boxes, summary.degenerate) == (6, 6, 0)
    assert summary.names == ("cell", "gap") and not summary.skipped
    plain = "no sizes|crowds as text|crowds that are false|boxes as text|boxes that are null|"
    plain += "a polygon that is flat|another key for the name"
    assert kind in plain.split("|") or sum(summary.repairs.values()) > 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(encoding, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(made(tmp_path)), encoding=encoding)
    assert import_coco(tmp_path / "a.json", tmp_path / "images", tmp_path / "out").boxes == 6


def test_a_name_that_fits_one_file_is_taken_once(tmp_path):
    data = made(tmp_path)
    data["images"][0]["file_name"], data["images"][1]["file_name"] = "a/im0.png", "b/im0.png"
    (tmp_path / "a.json").write_text(json.dumps(data))
    summary = import_coco(tmp_path / "a.json", tmp_path / "images", tmp_path / "out")
    assert summary.train + summary.val == 5 and "another row" in summary.skipped[0][1]


def test_crowds_of_a_brush(tmp_path, capsys):
    """Everything of a class is drawn by brush: RLE with iscrowd 1."""
    data = made(tmp_path)
    mask = np.zeros((30, 40), np.uint8, order="F")
    mask[3:18, 4:24] = 1
    code = rle.encode(mask)
    for row in data["annotations"]:
        if row["category_id"] == 2:
            row["iscrowd"] = 1
            row["segmentation"] = {"size": [30, 40], "counts": code["counts"].decode()}
    (tmp_path / "a.json").write_text(json.dumps(data))
    keys = {"source": str(tmp_path / "a.json"), "images": str(tmp_path / "images")}
    assert coco_main({**keys, "out": str(tmp_path / "left")}) == 3
    said = capsys.readouterr().out
    assert "warning: class gap is gone: none of its 3 objects is left; crowds=objects" in said
    for task in ("detect", "segment"):
        out = {"out": str(tmp_path / task), "task": task, "crowds": "objects"}
        assert coco_main({**keys, **out}) == 0
        lines = [f.read_text() for f in (tmp_path / task / "labels").rglob("*.txt")]
        assert len([line for line in lines if line.startswith("1 ")]) == 3


def test_copies_are_on_one_side(tmp_path):
    data = made(tmp_path, 12)
    images = tmp_path / "images"
    for i in range(0, 12, 2):
        shutil.copy(images / f"im{i}.png", images / f"im{i + 1}.png")
    (tmp_path / "a.json").write_text(json.dumps(data))
    for seed in range(5):
        out = tmp_path / f"out{seed}"
        summary = import_coco(tmp_path / "a.json", images, out, val_fraction=0.4, seed=seed)
        sides = [{f.read_bytes() for f in (out / "images" / p).iterdir()} for p in ("train", "val")]
        assert not sides[0] & sides[1] and "12 images are 6 groups" in summary.notes[0]


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("train2017", "val2017", "test")])
@pytest.mark.parametrize("by", ["folder", "name", "key", "path"])
def test_a_split_is_kept_on_request(names, by, tmp_path):
    source = tmp_path / "in"
    whole = {"images": [], "annotations": [], "categories": []}
    for number, part in enumerate(names):
        data = made(source / part if by == "folder" else source, 3 + number)
        if by == "folder":
            (source / part / "_annotations.coco.json").write_text(json.dumps(data))
            continue
        (source / part).mkdir()
        for row in data["images"]:
            name = f"{part}_{row['file_name']}"
            (source / "images" / row["file_name"]).rename(source / part / name)
            row["file_name"] = f"{part}/{name}" if by == "path" else name
            row |= {"split": part.rstrip("2017")} if by == "key" else {}
            row["id"] += 100 * number
        for row in data["annotations"]:
            row["image_id"] += 100 * number
            row["id"] += 100 * number
        for key in whole:
            whole[key] += data[key] if key != "categories" or not number else []
        if by == "name":
            (source / f"instances_{part}.json").write_text(json.dumps(data))
    if by in ("key", "path"):
        (source / "all.json").write_text(json.dumps(whole))
    file = source / "all.json" if by in ("key", "path") else source
    out = tmp_path / "out"
    summary = import_coco(file, source, out, split="keep")
    assert (summary.train, summary.val, summary.test) == (3, 4, 5) and summary.boxes == 12
    assert summary.names == ("cell", "gap")
    assert yaml.safe_load((out / "data.yaml").read_text())["test"] == "images/test"
    drawn = import_coco(file, source, tmp_path / "drawn")
    assert drawn.test == 0 and any("split=keep keeps its own" in note for note in drawn.notes)


def test_no_split_to_keep(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(made(tmp_path)))
    with pytest.raises(NASError, match="split=keep: 6 of 6 images say no part"):
        import_coco(tmp_path / "a.json", tmp_path / "images", tmp_path / "out", split="keep")
    with pytest.raises(NASError, match="holds no COCO instances JSON"):
        import_coco(tmp_path / "images", tmp_path / "images", tmp_path / "out")


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_orientations(stored, orientation, suffix, tmp_path):
    """Annotated as it is looked at, or as it is stored where its size says so."""
    from PIL import ImageOps

    (tmp_path / "images").mkdir()
    array = np.zeros((30, 40), np.uint8)
    array[4:10, 6:20] = 200
    exif = Image.Exif()
    exif[274] = orientation
    swapped = orientation in (5, 6, 7, 8)
    data = made(tmp_path / "unused", 2)
    for row, annotation in zip(data["images"], data["annotations"], strict=True):
        row["file_name"] = f"{row['id']}.{suffix}"
        file = tmp_path / "images" / row["file_name"]
        Image.fromarray(array + row["id"]).save(file, exif=exif)
        seen = array if stored and swapped else np.asarray(
            ImageOps.exif_transpose(Image.open(file))) > 99  # fmt: skip
        rows, columns = np.nonzero(seen)
        x, y = int(columns.min()), int(rows.min())
        annotation["bbox"] = [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y]
        row["width"], row["height"] = seen.shape[::-1]
    (tmp_path / "a.json").write_text(json.dumps(data))
    if suffix == "tif" and swapped:  # which Pillow does not read as it is
        with pytest.raises(NASError, match=f"lies on its side, EXIF {orientation}"):
            import_coco(tmp_path / "a.json", tmp_path / "images", tmp_path / "out")
        return
    import_coco(tmp_path / "a.json", tmp_path / "images", tmp_path / "out")
    for file in (tmp_path / "out/images").rglob("*.*"):
        upright = np.asarray(ImageOps.exif_transpose(Image.open(file))) > 99
        label = tmp_path / "out/labels" / file.parent.name / f"{file.stem}.txt"
        x, y, w = map(float, label.read_text().split()[1:4])
        rows, columns = np.nonzero(upright)
        assert x * upright.shape[1] == pytest.approx(columns.mean() + 0.5, abs=0.6)
        assert y * upright.shape[0] == pytest.approx(rows.mean() + 0.5, abs=0.6)
        assert w * upright.shape[1] == pytest.approx(np.ptp(columns) + 1, abs=1)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "kind",
    "absolute backslash bom dupboxes dupids dupnames floatids floatsize nobbox nobbox_one noid "
    "numericstrings prefix segempty segmixed stringids".split(),
)
def test_the_inputs(kind, shared_inputs, tmp_path):
    source = shared_inputs / "coco_json" / kind
    summary = import_coco(source / "ann.json", source / "images", tmp_path / "out")
    assert summary.boxes == 12 and summary.train + summary.val == 6 and len(summary.names) == 2


@pytest.mark.realdata
def test_the_split_of_the_inputs(shared_inputs, tmp_path):
    source = shared_inputs / "coco_json" / "split"
    summary = import_coco(source, source, tmp_path / "out", split="keep")
    assert (summary.train, summary.val, summary.boxes) == (6, 3, 18)


@pytest.mark.parametrize("name", ["../../PWN", "/PWN", "a\nb", ".."])
def test_a_category_that_would_be_a_folder_elsewhere(tmp_path, name):
    data = made(tmp_path)
    data["categories"][0]["name"] = name
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(NASError, match=r"a category is called .*; rename it"):
        import_coco(tmp_path / "a.json", tmp_path / "images", tmp_path / "out")
    assert not (tmp_path / "out").exists()


BROKEN = [
    {"size": [0, 40], "counts": [0]},
    {"size": [30, 0], "counts": "0"},
    {"size": [30, 40], "counts": [10**9]},
    {"size": [30, 40], "counts": [-5, 1205]},
    {"size": [30, 40], "counts": "zzzzzzzzzzzzzzzzzzzzzzzzzz"},
    {"size": [30, 40], "counts": "\0"},
    {"size": [30, 40], "counts": {"a": 1}},
    {"size": [2**40, 2**40], "counts": [1]},
    {"size": "ab", "counts": "0"},
    {"counts": [1]},
]


@pytest.mark.parametrize("code", BROKEN, ids=str)
@pytest.mark.parametrize("box", [True, False])
def test_runs_that_do_not_cover_their_picture_are_no_outline(tmp_path, code, box):
    """The library in C would divide by zero, or write beyond its memory."""
    data = made(tmp_path)
    data["annotations"][0]["segmentation"] = code
    if not box:
        del data["annotations"][0]["bbox"]
    (tmp_path / "a.json").write_text(json.dumps(data))
    found = import_coco(tmp_path / "a.json", tmp_path / "images", tmp_path / "out", task="segment")
    assert (found.boxes, found.degenerate) == (5, 1)


def test_an_image_that_is_a_link_is_copied(tmp_path):
    """Never a hard link to a file elsewhere, which a training may write into."""
    data = made(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    theirs = (tmp_path / "images" / "im0.png").rename(tmp_path / "elsewhere" / "theirs.png")
    (tmp_path / "images" / "im0.png").symlink_to(theirs)
    (tmp_path / "a.json").write_text(json.dumps(data))
    import_coco(tmp_path / "a.json", tmp_path / "images", tmp_path / "out")
    copies = {p.name: p for p in (tmp_path / "out" / "images").rglob("*.png")}
    assert copies["im0.png"].read_bytes() == theirs.read_bytes()
    assert not copies["im0.png"].is_symlink() and not copies["im0.png"].samefile(theirs)
    assert copies["im1.png"].samefile(tmp_path / "images" / "im1.png")
