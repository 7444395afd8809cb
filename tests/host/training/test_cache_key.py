"""Where decoded images are kept, by the key `cache`, and the time that decoding them may take."""

import math
from collections import Counter

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.config.fields import cached, most_of
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host import dataset
from yolo_nas_ext.host.training import image_cache
from yolo_nas_ext.host.training.lean import LeanDetectionTrainer
from yolo_nas_ext.host.training.session import quiet
from yolo_nas_ext.host.training.settings import TrainingSettings

GIB = 2**30


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return dataset.read(draw(tmp_path_factory.mktemp("shapes")))


@pytest.fixture(autouse=True)
def _forgotten():
    image_cache.forget()
    yield
    image_cache.forget()


@pytest.mark.parametrize(
    ("given", "kept", "most"),
    [
        ("auto", "auto", None),
        ("RAM:8g", "ram", 8e9),
        ("disk:1.5T", "disk", 1.5e12),
        (False, "none", None),
    ],
)
def test_the_key_is_a_place_and_perhaps_a_size(given, kept, most):
    assert most_of(cached(given)) == (kept, most)


@pytest.mark.parametrize("given", ["memory", "ram:", "ram:much", "none:3G", "auto:3G", True])
def test_other_values_are_refused_with_what_is_allowed(given):
    with pytest.raises(ValueError, match="ram and disk with a size, as in ram:8G"):
        cached(given)


@pytest.mark.parametrize(
    ("cache", "shared", "where"),
    [
        (("auto", None), False, "ram"),
        (("auto", None), True, "disk"),
        (("ram", None), True, "ram"),
        (("ram", 0.5 * GIB), False, "none"),
        (("disk", 2.0 * GIB), False, "disk"),
        (("none", None), False, "none"),
    ],
)
def test_what_fits_decides(cache, shared, where, tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache, "free", lambda: 4 * GIB)
    assert image_cache.place(cache, GIB, tmp_path, shared)[0] == where
    assert image_cache.place(("auto", None), 8 * GIB, tmp_path, False)[0] == "disk"


def test_a_search_says_where_much_is_going_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache, "free", lambda: 4 * GIB)
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda path: type("", (), {"free": GIB}))
    told = image_cache.said(("auto", None), 118_000, 640, 3, tmp_path, shared=False)
    assert told.startswith("118000 decoded images at 640 px take up to 145GB and are not kept")
    assert not image_cache.said(("auto", None), 100, 640, 3, tmp_path, shared=False)


def trainer(data, tmp_path, cache, deadline=math.inf):
    settings = TrainingSettings(epochs=1, imgsz=64, batch=4, device="cpu", cache=cache)
    arguments = {**settings.arguments(), "save_dir": str(tmp_path)}
    split = (list(range(9)), [9, 10, 11])
    with quiet():
        return LeanDetectionTrainer({}, data, split, settings, arguments, deadline=deadline)


@pytest.mark.parametrize(
    ("cache", "decoded"), [(("none", None), 0), (("ram", None), 9), (("ram", 99.0), 0)]
)
def test_images_stay_decoded_where_the_key_says(data, tmp_path, cache, decoded):
    made = trainer(data, tmp_path, cache)
    labels = [data.labels[i] for i in range(9)]
    held = made.held(labels, augment=False, batch=4)
    assert sum(image is not None for image in held.ims) == decoded


def test_decoding_ends_when_the_time_is_up(data, tmp_path, monkeypatch):
    made = trainer(data, tmp_path, ("ram", None), deadline=0.0)
    with pytest.raises(TrialError, match="stopped in epoch 1 of 1"):
        made.held(data.labels, augment=False, batch=4)
    assert sum(map(len, image_cache.kept().values())) <= 1


def test_a_part_has_the_classes_in_share(data):
    whole = Counter(c for classes in data.classes for c in classes)
    part = dataset.drawn(data, 6, seed=0)
    assert len(part.images) == len(part.labels) == len(part.groups) == 6
    assert [label["im_file"] for label in part.labels] == list(part.images)
    assert {c for classes in part.classes for c in classes} == {*whole}
    assert dataset.drawn(data, 6, seed=0).images == part.images
    with pytest.raises(NASError, match=f"images=99: the training part has {len(data.images)}"):
        dataset.drawn(data, 99, seed=0)
