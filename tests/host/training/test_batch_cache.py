import os
from collections.abc import Iterator
from typing import Any

import albumentations
import pytest
import torch

from tests.helpers.trained import SPLIT, network, train
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host.training import batch_cache
from yolo_nas_ext.host.training.image_cache import HeldImages
from yolo_nas_ext.host.training.trainer import TrainingResult

MOSAIC = {"nbs": 4, "mosaic": 1.0, "close_mosaic": 1}


def run(data: Any, which: int = 0, **more: Any) -> TrainingResult:
    return train(network(which), data, **more)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    batch_cache.forget()
    yield
    batch_cache.forget()


@pytest.fixture
def augmented(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the images that are augmented from now on, as they are."""
    seen: list[int] = []
    host = HeldImages.get_image_and_label

    def note(self: Any, index: int) -> Any:
        if self.augment:
            seen.append(index)
        return host(self, index)

    monkeypatch.setattr(HeldImages, "get_image_and_label", note)
    return seen


@pytest.mark.parametrize("overrides", [{}, MOSAIC])
def test_the_next_network_has_the_same_batches_and_loads_nothing(data, augmented, overrides):
    first = run(data, epochs=2, overrides=overrides).metrics
    loaded = len(augmented)
    assert loaded
    other = run(data, 1, epochs=2, overrides=overrides).metrics
    assert run(data, epochs=2, overrides=overrides).metrics == first
    assert len(augmented) == loaded
    batch_cache.forget()
    assert run(data, epochs=2, overrides=overrides).metrics == first
    assert len(augmented) == 2 * loaded
    batch_cache.forget()
    assert run(data, 1, epochs=2, overrides=overrides).metrics == other


def test_a_training_leaves_the_batches_as_they_were(data):
    run(data, epochs=1)
    (kept,) = batch_cache.kept()
    before = [
        {name: v.clone() for name, v in batch.items() if isinstance(v, torch.Tensor)}
        for batch in kept.epochs[0]
    ]
    run(data, epochs=1)
    for batch, old in zip(kept.epochs[0], before, strict=True):
        assert set(old) >= {"img", "cls", "bboxes"}
        assert batch["img"].dtype == torch.uint8
        assert all(torch.equal(batch[name], value) for name, value in old.items())


def test_another_seed_argument_or_number_of_epochs_has_its_own(data, augmented):
    for arguments in (
        {},
        {"seed": 1},
        {"epochs": 2},
        {"overrides": {"fliplr": 0.0}},
        {"batch": 3},
    ):
        before = len(augmented)
        run(data, **{"epochs": 1, **arguments})
        assert len(augmented) > before, arguments
    assert len(batch_cache.kept()) == 5


def test_an_image_that_changed_is_loaded_again(data, augmented):
    run(data, epochs=1)
    for file in data.images:
        os.utime(file, (1, 1))
    before = len(augmented)
    run(data, epochs=1)
    assert len(augmented) > before


def test_what_was_stopped_is_not_kept(data):
    def stop(epoch: int, losses: Any) -> None:
        raise TrialError("timeout", "enough")

    with pytest.raises(TrialError):
        run(data, epochs=2, on_epoch=stop)
    assert not batch_cache.kept()


def test_batches_of_different_sizes_are_not_kept(data):
    run(data, epochs=1, imgsz=128, overrides={"nbs": 4, "multi_scale": 0.25})
    assert not batch_cache.kept()


def test_what_is_kept_is_bounded(data, monkeypatch):
    run(data, epochs=1)
    (older,) = batch_cache.kept()
    tensors = [v for batch in older.epochs[0] for v in batch.values()]
    assert older.size == sum(v.nbytes for v in tensors if isinstance(v, torch.Tensor)) > 0
    # Room for what comes, and not for two.
    monkeypatch.setattr(batch_cache, "MOST", int(1.5 * older.size))
    run(data, epochs=1, seed=1)
    (newer,) = batch_cache.kept()
    assert newer is not older
    # Room for the images, as is asked beforehand, and not for what comes with them.
    monkeypatch.setattr(batch_cache, "MOST", older.size - 1)
    monkeypatch.setattr(HeldImages, "bytes_of", lambda self, count: 0)
    run(data, epochs=1, seed=2)
    assert not batch_cache.kept()


def test_workers_leave_no_file_handles(data):
    run(data, epochs=1, overrides={"workers": 1})
    (kept,) = batch_cache.kept()
    values = [v for batch in kept.epochs[0] for v in batch.values()]
    assert not any(value.is_shared() for value in values if isinstance(value, torch.Tensor))


def test_a_full_training_keeps_nothing(data):
    run(data, epochs=1, short=False)
    assert not batch_cache.kept()


def test_transforms_are_known_by_what_they_do(data, augmented):
    """Two made alike are one; one of the user's own may do anything."""
    blur = {"augmentations": [albumentations.Blur(p=0.5)]}
    first = run(data, epochs=1, overrides=blur).metrics
    loaded = len(augmented)
    assert run(data, epochs=1, overrides={"augmentations": [albumentations.Blur(p=0.5)]}).metrics
    assert len(augmented) == loaded
    run(data, epochs=1, overrides={"augmentations": [albumentations.Blur(p=0.6)]})
    assert len(augmented) == 2 * loaded

    class Own(albumentations.Blur):
        pass

    for _ in range(2):
        run(data, epochs=1, overrides={"augmentations": [Own(p=0.5)]})
    assert len(augmented) == 4 * loaded
    batch_cache.forget()
    assert run(data, epochs=1, overrides=blur).metrics == first


def test_modules_that_are_not_known_are_shown_new_batches(data, augmented, monkeypatch):
    """They may draw from the generators of the augmentation."""
    monkeypatch.setattr(batch_cache, "KNOWN", ("torch", "yolo_nas_ext"))
    for _ in range(2):
        run(data, epochs=1)
    assert len(augmented) == 2 * len(SPLIT[0]) and not batch_cache.kept()


def test_a_copy_in_the_making_asks_for_nothing():
    with pytest.raises(AttributeError):
        _ = batch_cache.Replayed.__new__(batch_cache.Replayed).__deepcopy__
