"""The memory of a GPU between candidates, on one that torch is told of."""

import pytest
import torch

from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.estimators.factory import training_options
from yolo_nas_ext.host.training.session import failure, session


class Trainer:
    """Fails as trainers do."""

    train_loader = test_loader = callers_error = None

    def train(self):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_it_is_freed_after_every_candidate_a_failed_one_too(monkeypatch):
    freed = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(1))
    session(lambda given: Trainer(), {}, lambda trainer: None, threads=1)
    with pytest.raises(TrialError, match="out of memory"):
        session(lambda given: Trainer(), {}, lambda trainer: trainer.train(), threads=1)
    assert len(freed) == 2


@pytest.mark.parametrize(
    "said",
    [
        "Unable to find an engine to execute this computation",
        "GET was unable to find an engine to execute this computation",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 9.0 GB)",
    ],
)
def test_what_a_gpu_says_for_want_of_memory_counts_as_that(said):
    found = failure(RuntimeError(said), None)
    assert isinstance(found, TrialError) and found.kind == "memory"


@pytest.mark.parametrize(
    ("given", "workers"),
    [({}, None), ({"jobs": 4}, 2), ({"jobs": 4, "workers": 3}, 3), ({"jobs": 40}, 1)],
)
def test_jobs_share_the_processes_that_read_images(given, workers):
    config = configure(given, {"workers": 8}, {})
    assert training_options(config)["overrides"].get("workers") == workers
