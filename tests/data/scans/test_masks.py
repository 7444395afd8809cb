"""What the values of a mask's picture mean."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import ndimage

from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import masks
from yolo_nas_ext.data.scans.volumes import ScanError
from yolo_nas_ext.errors import NASError


def boxes(*values, dtype=np.uint8, size=64):
    """A picture with a box of each value."""
    plane = np.zeros((size, size), dtype)
    for index, value in enumerate(values):
        y, x = 4 + 14 * (index // 4), 4 + 14 * (index % 4)
        plane[y : y + 10, x : x + 10] = value
    return plane


def smooth(plane, by):
    return ndimage.gaussian_filter(plane.astype(float), by)


def save(array, file, **how):
    Image.fromarray(array).save(file, **how)
    return file


RED, GREEN = (255, 0, 0), (0, 255, 0)


def coloured(*colours):
    plane = boxes(*range(1, len(colours) + 1))
    return np.array([(0, 0, 0), *colours], np.uint8)[plane]


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_leaves_two_values(quality, mode, tmp_path):
    truth = boxes(255, 255, 255)
    file = tmp_path / "m.jpg"
    Image.fromarray(truth).convert(mode).save(file, quality=quality)
    found = masks.labels(file).plane(2, 0)
    assert set(np.unique(found)) == {0, 255} and (found != truth).mean() < 0.003
    assert masks.look(file).soft


@pytest.mark.parametrize(
    ("array", "full"),
    [
        (smooth(boxes(255, 255), 0.7).round().astype(np.uint8), 255),
        (smooth(boxes(255, 255), 1.2).round().astype(np.uint8), 255),
        (smooth(boxes(65535, 65535, dtype=np.uint16), 0.7).round().astype(np.uint16), 65535),
        (smooth(boxes(1, 1), 0.7).astype(np.float32), 1),
        ((smooth(boxes(255, 255), 0.7) / 64).round().astype(np.uint8) * 63, 255),
    ],
)
def test_smoothed_edges_are_split_in_the_middle(array, full, tmp_path):
    file = save(array, tmp_path / ("m.tif" if array.dtype.kind == "f" else "m.png"))
    found = masks.labels(file).plane(2, 0)
    assert set(np.unique(found)) == {0, full}
    truth = boxes(full, full, dtype=np.int64)
    assert (found != truth).mean() < 0.005 and masks.look(file).soft


@pytest.mark.parametrize(
    "array",
    [
        boxes(255),
        boxes(1, 2, 3, 4),
        boxes(128, 255, 128),
        boxes(85, 170, 255),
        boxes(1, 2, 3, 255),
        boxes(*range(1, 13)),
        boxes(7, 1200, 40_000, 65535, dtype=np.uint16),
        np.kron(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4, np.ones((8, 8), np.uint8)),
        np.pad(np.repeat(np.array([[1, 2, 3, 4, 5]], np.uint8), 2, 1), 20),  # thin ones
    ],
)
def test_labels_stay_as_they_are(array, tmp_path):
    file = save(array, tmp_path / "m.png")
    assert (masks.labels(file).plane(2, 0) == array).all() and not masks.look(file).soft


def test_what_is_neither_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    photo = smooth(rng.integers(0, 256, (64, 64)), 1).astype(np.uint8)
    several = tmp_path / "several.jpg"
    Image.fromarray(boxes(60, 120, 180, 240)).save(several, quality=40)
    for file in (save(photo, tmp_path / "photo.png"), several):
        with pytest.raises(ScanError, match="neither black and white nor labels"):
            masks.labels(file)


def test_colours_that_come_back_are_classes(tmp_path):
    files = [
        save(coloured(*colours), tmp_path / f"{i}.png")
        for i, colours in enumerate([(RED, GREEN, RED), (GREEN,), (RED,), (GREEN, GREEN)])
    ]
    found = masks.meaning(map(masks.look, files))
    assert not found.instances and "ff0000 is label 16711680" in " ".join(found.notes)


def test_colours_of_their_own_are_objects(tmp_path):
    rng = np.random.default_rng(0)
    files = [
        save(coloured(*map(tuple, rng.integers(20, 255, (6, 3)))), tmp_path / f"{i}.png")
        for i in range(3)
    ]
    assert masks.meaning(map(masks.look, files)).instances


def test_coloured_jpeg(tmp_path):
    file = tmp_path / "m.jpg"
    Image.fromarray(coloured(RED, RED, GREEN)).save(file, quality=95, subsampling=0)
    found, truth = masks.labels(file).plane(2, 0), boxes(0xFF0000, 0xFF0000, 0xFF00, dtype=int)
    assert (found != truth).mean() < 0.01


def test_sixteen_bits_of_one_value_are_no_instance(tmp_path):
    one = save(boxes(65535, 65535, dtype=np.uint16), tmp_path / "one.png")
    assert not masks.meaning([masks.look(one)]).instances
    several = save(boxes(1, 2, dtype=np.uint16), tmp_path / "several.png")
    assert masks.meaning([masks.look(several)]).instances


def pairs(folder, arrays):
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index, array in enumerate(arrays):
        rng = np.random.default_rng(index)
        save(rng.integers(0, 200, (64, 64), dtype=np.uint8), folder / f"images/{index}.png")
        save(array, folder / f"masks/{index}.png")
    return folder


def classes_of(folder, out, **keys):
    assert data.main({"source": str(folder), "out": str(out), **keys}) == 0
    lines = [f.read_text().split("\n")[:-1] for f in (out / "labels").rglob("*.txt")]
    text = (out / "data.yaml").read_text()
    return sorted(line.split()[0] for found in lines for line in found), text


def test_a_border_is_no_class(tmp_path, capsys):
    source = pairs(tmp_path / "in", [boxes(1, 255), boxes(2, 255)])
    assert classes_of(source, tmp_path / "a")[0] == ["0", "1"]
    assert "255 beside labels up to 2 is taken for borders" in capsys.readouterr().out
    found, text = classes_of(source, tmp_path / "b", names="1:a,2:b,255:edge")
    assert found == ["0", "1", "2", "2"] and "edge" in text


def test_labels_are_left_out_and_merged(tmp_path):
    source = pairs(tmp_path / "in", [boxes(1, 2, 3), boxes(2, 3, 4)])
    found, text = classes_of(source, tmp_path / "a", names="1:tumour,2:tumour,3:-,4:cyst")
    assert found == ["0", "0", "0", "1"] and "0: tumour\n  1: cyst" in text
    found, text = classes_of(source, tmp_path / "b", names="3:-")
    assert found == ["0", "1", "1", "2"] and "label_3" not in text
    touching = np.zeros((64, 64), np.uint8)
    touching[10:20, 10:20], touching[10:20, 20:30] = 1, 2
    source = pairs(tmp_path / "touch", [touching, touching])
    assert classes_of(source, tmp_path / "c", names="1:a,2:a")[0] == ["0", "0"]


@pytest.mark.realdata
@pytest.mark.parametrize("kind", ["soft", "jpegmask", "jpegrgb", "rgb", "colours", "void"])
def test_four_objects(kind, shared_inputs, tmp_path, capsys):
    found, _ = classes_of(shared_inputs / "soft_masks" / kind, tmp_path / "out")
    assert len(found) == 4
    said = capsys.readouterr().out
    assert ("soft edges" in said) == (kind in ("soft", "jpegmask", "jpegrgb"))


def stack(file, planes):
    first, *others = [Image.fromarray(plane) for plane in planes]
    first.save(file, save_all=True, append_images=others)


def test_pages_are_pictures_or_channels_and_never_the_first_alone(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "in" / kind).mkdir(parents=True)
    for name in "ab":
        grey = [rng.integers(0, 200, (64, 64), dtype=np.uint8) for _ in range(3)]
        stack(tmp_path / f"in/images/{name}.tif", grey)
        stack(tmp_path / f"in/masks/{name}.tif", [boxes(*[1] * n) for n in (1, 2, 3)])
    with pytest.raises(NASError, match="none of 2 scans"):
        data.main({"source": str(tmp_path / "in")})
    assert "has 3 pages; choose pages=pictures" in capsys.readouterr().out
    for pages, objects, pictures in (("pictures", 12, 6), ("channels", 2, 2), ("first", 2, 2)):
        out = tmp_path / pages
        found, text = classes_of(tmp_path / "in", out, pages=pages)
        assert len(found) == objects and len(list((out / "images").rglob("*.png"))) == pictures
        assert ("channels: 3" in text) == (pages == "channels")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_and_masks_are_turned_as_they_are_looked_at(orientation, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    picture = np.zeros((40, 64, 3), np.uint8)
    picture[4:14, 6:26] = 255
    upright = picture[..., 0]
    for kind in ("images", "masks"):
        (tmp_path / "in" / kind).mkdir(parents=True)
    for name in "ab":
        Image.fromarray(picture).save(tmp_path / f"in/images/{name}.jpg", exif=exif, quality=100)
        with Image.open(tmp_path / f"in/images/{name}.jpg") as image:
            upright = np.asarray(ImageOps.exif_transpose(image))[..., 0]
        Image.fromarray((upright > 99).astype(np.uint8)).save(tmp_path / f"in/masks/{name}.png")
    assert data.main({"source": str(tmp_path / "in"), "out": str(tmp_path / "out")}) == 0
    for file in (tmp_path / "out/images").rglob("*.png"):
        written = np.asarray(Image.open(file))
        assert written.shape == upright.shape and abs(written.astype(int) - upright).mean() < 3
        label = Path(str(file).replace("images", "labels")).with_suffix(".txt").read_text().split()
        rows, columns = np.nonzero(upright > 99)
        assert float(label[1]) * upright.shape[1] == pytest.approx(columns.mean() + 0.5, abs=0.6)
        assert float(label[2]) * upright.shape[0] == pytest.approx(rows.mean() + 0.5, abs=0.6)
