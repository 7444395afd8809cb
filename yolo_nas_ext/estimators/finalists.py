"""Finalists: the best by shared weights get a training of their own before a winner is named."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.estimators import options
from yolo_nas_ext.estimators.training import SHORT, FullTraining, ShortTraining, Training
from yolo_nas_ext.space.architecture import Architecture

TUNED = "tuned"
WAYS: dict[str, type[Training]] = {TUNED: ShortTraining, "short": ShortTraining,
                                   "full": FullTraining}  # fmt: skip
SHARE = 0.2  # of the supernet's epochs, for a network that starts from its weights
SLOWER = 0.25  # times its learning rate: what has been learned is to be kept


class Finalists:
    """Trains networks of a supernet alone, or on from their extracted weights.

    Args:
        config: Settings of the search, see `config.Config`.
        data: The data set.
        supernet: The estimator with the shared weights.

    Raises:
        NASError: For an unknown ``confirm_by``.
    """

    def __init__(self, config: Any, data: Any, supernet: Any) -> None:
        check(config)
        given = options(config)
        self.tuned = config.confirm_by == TUNED
        if self.tuned:
            rate = SLOWER * given["overrides"].get("lr0", SHORT["lr0"])
            given["epochs"] = tuned_epochs(config.epochs)
            given["overrides"] = {**given["overrides"], "lr0": rate}
        self._supernet, self._training = supernet, WAYS[config.confirm_by](data, **given)
        # Weights have seen the images that another seed would hold out; alone, nothing has.
        self._seed = config.seed + (not self.tuned)
        self._training.images = supernet.images

    def train(self, network: Architecture, weights: Path) -> Mapping[str, float]:
        """Return the metrics of a network after its training.

        Args:
            network: A network of the space.
            weights: Where its checkpoint goes.

        Raises:
            TrialError: For a network that cannot be trained.
        """
        fidelity = {"seed": self._seed}
        if not self.tuned:
            return self._training.estimate(network, fidelity, weights=weights)
        with tempfile.TemporaryDirectory() as folder:
            start = Path(folder) / "extracted.pt"
            self._supernet.estimate(network, weights=start)
            return self._training.estimate(network, fidelity, weights=weights, inherit=start)


def tuned_epochs(epochs: int) -> int:
    """Return the epochs of a network that starts from a supernet's weights."""
    return max(1, round(SHARE * epochs))


def how(config: Any) -> str:
    """Return how finalists are trained, in words."""
    if config.confirm_by == TUNED:
        return f"trained on from the supernet's weights for {tuned_epochs(config.epochs)} epochs"
    return f"trained alone, {config.confirm_by}, for {config.epochs} epochs"


def check(config: Any) -> None:
    """Refuse a ``confirm_by`` that is none, or that has no part in the search.

    Raises:
        NASError: See above.
    """
    way = config.confirm_by
    if way not in WAYS:
        raise NASError(
            f"confirm_by={way}: no such training.{did_you_mean(way, WAYS)} Allowed: "
            f"{', '.join(WAYS)}"
        )
    if way != TUNED and config.estimator != "supernet":
        raise NASError(
            f"confirm_by={way}: of estimator=supernet; with estimator={config.estimator} the best "
            "are judged again by itself. Leave it out"
        )
