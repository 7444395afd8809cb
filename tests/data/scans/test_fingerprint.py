import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.scans import pairs
from yolo_nas_ext.data.scans.fingerprint import fingerprint
from yolo_nas_ext.data.scans.intensity import WINDOWS, to_8_bits, window
from yolo_nas_ext.errors import NASError


def scan(patient, sides=(20,), size=(512, 512), spacing=0.8, between=2.0, least=0.0, **more):
    return {
        "patient": patient,
        "size": list(size),
        "picture": list(size),
        "spacing_mm": [spacing, spacing],
        "between_mm": between,
        "intensity": [least, 0.0, 1.0, 900.0],
        "pictures": [{"labels": [1]}, {"labels": []}],
        "objects": [[s, s + 3, s * s, 1] for s in sides],
        "colour": False,
        "text": False,
        **more,
    }


def test_figures_and_no_warning_where_all_is_well():
    seen = fingerprint([scan(f"p{i}") for i in range(20)], {1: "tumour"})
    assert seen.figures["patients"] == 20 and seen.figures["objects"] == {"tumour": 20}
    assert seen.figures["object px"] == [20] * 5 and seen.figures["imgsz"] == 512
    assert seen.warnings == [] and seen.suggested["imgsz"] == 512


def test_small_lesions_ask_for_a_larger_size_or_p2():
    seen = fingerprint([scan(f"p{i}", (9, 30)) for i in range(20)], {1: "tumour"}, imgsz=256)
    (warning,) = seen.warnings
    assert "50% of the objects are below 8 px at imgsz=256" in warning and "P2" in warning
    scans = [scan(f"p{i}", (9, 30)) for i in range(20)]
    (masks,) = fingerprint(scans, {1: "tumour"}, imgsz=256, task="segment").warnings
    assert "try imgsz=" in masks and "P2" not in masks  # Ultralytics measures no masks below P3
    larger = seen.suggested["imgsz"]
    again = fingerprint([scan(f"p{i}", (9, 30)) for i in range(20)], {1: "tumour"}, imgsz=larger)
    assert 256 < larger <= 512 and not again.warnings


def test_no_image_size_is_advised_that_no_picture_fills():
    scans = [scan(f"p{i}", (3, 30), (64, 96)) for i in range(20)]
    seen = fingerprint(scans, {1: "tumour"}, task="segment")
    (warning,) = seen.warnings
    assert "pictures of a finer spacing" in warning and seen.suggested["imgsz"] == 96


def test_a_class_of_slices_without_an_object_lacks_none():
    scans = [scan(f"p{i}") for i in range(20)]
    assert not fingerprint(scans, {0: "background", 1: "tumour"}, task="classify").warnings


def test_what_else_matters():
    records = [scan(f"p{i}", spacing=0.5 + 0.1 * i, between=8.0, least=-1000.0) for i in range(8)]
    records[0]["text"] = True
    said = "\n".join(fingerprint(records, {1: "a", 2: "b"}).warnings)
    for part in (
        "8 patients",
        "times as far apart",
        "mm: spacing=",
        "no window",
        "show text",
        "class b has 0",
    ):
        assert part in said
    assert "one patient" in "\n".join(fingerprint([scan("p")], {1: "a"}).warnings)
    assert fingerprint(records, {1: "a"}).suggested["augment"] == "ct"
    windowed = fingerprint(records, {1: "a"}, windowed=True).warnings
    assert not any("no window" in line for line in windowed)


def test_an_object_that_fills_its_picture_is_hardly_a_finding():
    scans = [scan(f"p{i}", (20, 20, 500)) for i in range(20)]
    (warning,) = fingerprint(scans, {1: "body"}).warnings
    assert "20 of 60 objects reach from edge to edge" in warning and "names=<label>:-" in warning
    assert not fingerprint(scans, {1: "body"}, task="classify").warnings


@pytest.mark.parametrize(
    ("windows", "blank"),
    [([(-160, 240)], 0), ([(-1350, -600)], 20), ([(2000, 3000)], 20), ([(0, 5), (900, 990)], 20)],
)
def test_a_window_that_shows_nothing_is_said(windows, blank):
    scans = [scan(f"p{i}", intensity=[0.0, 3.0, 700.0, 900.0]) for i in range(20)]
    found = fingerprint(scans, {1: "a"}, windowed=True, windows=windows).warnings
    assert len(found) == bool(blank)
    assert not blank or f"shows nothing of {blank} of 20 scans" in found[0]


def test_neighbours_are_advised_where_there_is_room_for_them():
    scans = [scan(f"p{i}", between=8.0) for i in range(20)]
    (warning,) = fingerprint(scans, {1: "a"}).warnings
    assert "channels=3" in warning
    three = [{**one, "channels": 3} for one in scans]  # neighbours already, windows or contrasts
    assert not fingerprint(three, {1: "a"}).warnings


def test_pixels_that_are_not_square_are_said():
    scans = [scan(f"p{i}", spacing_mm=[0.5, 0.5], between=1.0) for i in range(20)]
    scans[3]["spacing_mm"] = [0.5, 0.7]
    (warning,) = fingerprint(scans, {1: "a"}).warnings
    assert "pixels of 1 scan are not square (0.5 x 0.7 mm): spacing=0.5" in warning


def test_pictures_without_objects_or_thickness():
    flat = scan("p")
    del flat["between_mm"]
    flat["objects"] = []
    seen = fingerprint([flat], {1: "a"})
    assert seen.suggested["augment"] == "xray" and seen.figures["object px"] == []


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_map_their_ends_to_black_and_white(name):
    low, high = window(name)
    level, width = WINDOWS[name]
    got = to_8_bits(np.array([low - 1, low, level, high, high + 1]), low, high)
    assert got.tolist() == [0, 0, 128, 255, 255] and high - low == width


def test_windows_by_numbers_and_others():
    assert window("percentile") is None and window("-600/1500") == (-1350, 150)
    assert window("40/80") == window("brain")
    assert to_8_bits(np.array([5, 5]), 5, 5).tolist() == [0, 0]
    for bad in ("40", "40/-80", "a/b", ""):
        with pytest.raises(NASError, match="not a window"):
            window(bad)


def test_bytes_are_those_of_monai():
    from monai.transforms.intensity.array import ScaleIntensityRange

    rng = np.random.default_rng(0)
    for kind in ("int16", "uint16", "float32", "float64") * 5:
        low, wide = rng.uniform(-1500, 500), rng.uniform(0.5, 3000)
        values = rng.uniform(0, 4000, (32, 32)).astype(kind)
        theirs = ScaleIntensityRange(low, low + wide, 0.0, 255.0, clip=True)(
            values.astype(np.float32)
        )
        assert np.array_equal(to_8_bits(values, low, low + wide), np.rint(theirs))


def test_a_conversion_at_native_spacing_does_not_load_torch(tmp_path):
    """Which takes more memory than most scans."""
    pairs(tmp_path / "in", n=2)
    code = (
        "import sys; from yolo_nas_ext.cli import main; main(['data', *sys.argv[1:]]);"
        "sys.exit('torch' in sys.modules)"
    )
    keys = [f"source={tmp_path / 'in'}", f"out={tmp_path / 'out'}"]
    subprocess.run([sys.executable, "-c", code, *keys], check=True)
    assert (tmp_path / "out" / "data.yaml").is_file()
