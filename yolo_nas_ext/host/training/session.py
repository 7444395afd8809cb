"""A session with Ultralytics' trainer: its silence, and names for its failures."""

from __future__ import annotations

import contextlib
import gc
import logging
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from ultralytics.nn.modules import Conv
from ultralytics.utils import LOGGER, callbacks
from ultralytics.utils.torch_utils import unset_deterministic

from yolo_nas_ext.errors import THEN, NASError, RunError, TrialError, no_room

# How torch says that there is not enough memory: on GPUs, on Linux and on Windows.
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cudnn_status_not_supported",  # said where no algorithm has the workspace that is left
    "cudnn_status_internal_error",  # which Ultralytics counts as that, too
    "unable to find an engine",
    "no valid execution plans",
    "failed to allocate",
    "mps backend out of memory",
)
# How CUDA says that a process cannot use its GPU any more, whatever it tries next.
STICKY = (
    "device-side assert",
    "illegal memory access",
    "unspecified launch failure",
    "misaligned address",
    "illegal instruction",
    "illegal address space",
    "hardware stack error",
    "uncorrectable ecc error",
    "gpu is lost",
    "cudaerrorassert",
)


T = TypeVar("T")


def session(
    make: Callable[[dict[str, Any]], Any],
    arguments: Mapping[str, Any],
    use: Callable[[Any], T],
    *,
    threads: int,
) -> T:
    """Make a trainer, use it and take it apart; Ultralytics is silent meanwhile.

    Args:
        make: Returns the trainer for Ultralytics' arguments.
        arguments: See `TrainingSettings.arguments`.
        use: What to do with it.
        threads: CPU threads.

    Returns:
        What `use` returns.

    Raises:
        TrialError: For what goes wrong in Ultralytics.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        trainer = None
        try:
            trainer = make({**arguments, "save_dir": folder})
            torch.set_num_threads(threads)  # as making it sets Ultralytics' own number, a core less
            return use(trainer)
        except NASError:
            raise
        except Exception as error:
            traceback.clear_frames(error.__traceback__)  # which hold tensors, and so the model
            if trainer is not None and error is trainer.callers_error:
                raise
            raise failure(error, trainer) from error
        finally:
            if trainer is not None:  # its objects refer to one another; the model goes at once
                for name in ("train_loader", "test_loader"):
                    if loader := getattr(trainer, name, None):
                        loader.close()  # ends its workers
                trainer.__dict__.clear()
                free_memory()


def free_memory() -> None:
    """Give the memory of a candidate back to its device, for the next one of another size."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        gc.collect()
        torch.mps.empty_cache()


def failure(error: Exception, trainer: Any) -> TrialError | RunError:
    """Return what to record for an exception of a training; a full disk ends the search."""
    if isinstance(error, TrialError):
        return error
    if full := no_room(error, THEN):
        return full
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in NO_MEMORY):
        return TrialError("memory", text)
    if any(sign in text.lower() for sign in STICKY):
        return TrialError("device", text)
    built = trainer is not None and isinstance(getattr(trainer, "model", None), torch.nn.Module)
    return TrialError("error" if built else "build", f"{type(error).__name__}: {text}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Ultralytics, and put back the global state that a failed build leaves changed."""
    level, activation, options = LOGGER.level, Conv.default_act, np.get_printoptions()
    integrations = callbacks.add_integration_callbacks
    LOGGER.setLevel(logging.CRITICAL)  # which silences the progress bars as well
    callbacks.add_integration_callbacks = lambda instance: None
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        callbacks.add_integration_callbacks = integrations
        Conv.default_act = activation
        np.set_printoptions(**options)
        unset_deterministic()  # which Ultralytics leaves on where its trainer cannot be made
