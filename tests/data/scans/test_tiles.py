"""Tiles cover a slice, overlap, and hold its objects."""

import itertools
import json

import numpy as np
import pytest
import yaml
from PIL import Image

from yolo_nas_ext.commands import data
from yolo_nas_ext.data import naming
from yolo_nas_ext.data.polygons import fill, objects
from yolo_nas_ext.data.scans import tiles
from yolo_nas_ext.errors import NASError


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("shape", [(64, 64), (64, 200), (65, 300), (1000, 70)])
def test_tiles_cover_everything_and_overlap(shape, overlap):
    covered = np.zeros(shape, int)
    corners = tiles.corners(shape, 64, overlap)
    for x, y in corners:
        part = covered[y : y + 64, x : x + 64]
        assert part.shape == (64, 64)
        part += 1
    assert covered.min() == 1 and len(set(corners)) == len(corners)
    for axis in (0, 1):
        starts = sorted({corner[axis] for corner in corners})
        assert all(b - a <= 64 * (1 - overlap) for a, b in itertools.pairwise(starts))


def test_without_tiles_a_slice_is_one():
    assert tiles.corners((70, 300), 0, 0.2) == [(0, 0)]
    assert tiles.corners((40, 64), 64, 0.2) == [(0, 0)]


def test_a_tiles_name_says_where_it_is():
    name = tiles.name("p0a1b2c3d4e_0f0f0f", 7, (96, 12), 64)
    assert naming.place(name) == ("p0a1b2c3d4e", "p0a1b2c3d4e_0f0f0f", 7)
    assert naming.corner(name) == (96, 12)
    assert naming.corner(tiles.name("p0a1b2c3d4e_0f0f0f", 7, (0, 0), 0)) is None


def pictures(folder, n=3, size=(150, 190)):
    """Pictures with small objects in places that are known."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(n):
        mask = np.zeros(size, np.uint8)
        for _ in range(12):
            y, x = (int(rng.integers(0, s - 9)) for s in size)
            mask[y : y + 7, x : x + 5] = 1
        picture = rng.integers(0, 90, size, dtype=np.uint8) + 100 * mask
        Image.fromarray(picture).save(folder / f"images/{index}.png")
        Image.fromarray(mask).save(folder / f"masks/{index}.png")
    return folder


def test_tiles_put_together_are_the_slices_and_their_masks(tmp_path):
    source, out = pictures(tmp_path / "in"), tmp_path / "out"
    keys = {"tile": 64, "overlap": 0.25, "task": "segment", "empty": 1.0, "names": "cell"}
    link = tmp_path / "link.csv"
    assert data.main({"source": str(source), "out": str(out), "linkage": str(link), **keys}) == 0
    scans = dict(line.split(",")[::-1] for line in link.read_text().splitlines()[1:])
    pixels = {key: np.zeros((150, 190), np.uint8) for key in scans}
    drawn = {key: np.zeros((150, 190), bool) for key in scans}
    for file in (out / "images").rglob("*.png"):
        _, key, _ = naming.place(file.stem)
        x, y = naming.corner(file.stem)
        tile = np.asarray(Image.open(file))
        assert tile.shape == (64, 64)
        pixels[key][y : y + 64, x : x + 64] = tile
        label = out / "labels" / file.parent.name / f"{file.stem}.txt"
        for line in label.read_text().splitlines():
            polygon = np.array(line.split()[1:], float).reshape(-1, 2) * 64
            drawn[key][y : y + 64, x : x + 64] |= fill(polygon, (64, 64))
    for key, name in scans.items():
        assert np.array_equal(pixels[key], np.asarray(Image.open(source / name)))
        truth = np.asarray(Image.open(source / name.replace("images", "masks"))) > 0
        assert np.array_equal(drawn[key], truth)
    record = json.loads((out / "conversion.json").read_text())
    assert record["options"]["tile"] == 64 and record["options"]["overlap"] == 0.25
    assert {tuple(scan["size"]) for scan in record["scans"].values()} == {(190, 150)}


def test_the_image_size_that_is_advised_is_the_tiles(tmp_path, capsys):
    source = pictures(tmp_path / "in")
    assert data.main({"source": str(source), "out": str(tmp_path / "out"), "tile": 64}) == 0
    assert " imgsz=64 " in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text())["channels"] == 1
    with pytest.raises(NASError, match="tile=16"):
        data.main({"source": str(source), "tile": 16})


@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_objects_of_tiles_are_joined_to_those_of_the_slice(overlap):
    plane = np.zeros((150, 190), int)
    for n, (y, x) in enumerate(itertools.product(range(4, 140, 24), range(3, 180, 21))):
        plane[y : y + 6 + n % 9, x : x + 5 + n % 11] = 1 + n % 2
    whole = {(*one.box, one.value) for one in objects(plane, polygons=False)}
    tables, frames, parts = [], [], []
    for n, (x, y) in enumerate(tiles.corners(plane.shape, 64, overlap)):
        part = plane[y : y + 64, x : x + 64]
        found = objects(part, polygons=False)
        rows = [[*one.box, one.value, 0.5 + n / 100] for one in found]
        tables.append(np.array(rows, float).reshape(-1, 6))
        frames.append((x, y, x + 64, y + 64))
        parts.append(part)
    rows, members = tiles.join(tables, frames)
    assert {tuple(map(int, row[:5])) for row in rows} == whole and len(rows) == len(whole)
    assert sorted(one for own in members for one in own) == [
        (tile, row) for tile, table in enumerate(tables) for row in range(len(table))
    ]
    for row, own in zip(rows, members, strict=True):
        assert row[5] == max(tables[tile][at, 5] for tile, at in own)


def test_what_tiles_do_not_share_stays_apart():
    left, right = [[40, 10, 50, 20, 0, 0.9]], [[0, 10, 10, 20, 0, 0.8], [20, 0, 30, 9, 0, 0.7]]
    frames = [(0, 0, 64, 64), (48, 0, 112, 64)]
    rows, members = tiles.join([np.array(left, float), np.array(right, float)], frames)
    assert rows.tolist() == [[40, 10, 58, 20, 0, 0.9], [68, 0, 78, 9, 0, 0.7]]
    assert members == [[(0, 0), (1, 0)], [(1, 1)]]
    other = np.array([[0, 10, 10, 20, 1, 0.8]])  # of another class
    assert len(tiles.join([np.array(left, float), other], frames)[0]) == 2
    empty, none = tiles.join([np.zeros((0, 6)), np.zeros((0, 6))], frames)
    assert empty.shape == (0, 6) and none == []
