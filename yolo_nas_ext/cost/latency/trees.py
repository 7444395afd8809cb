"""Gradient-boosted trees as plain arrays: grown by scikit-learn, read and evaluated without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Forest:
    """A sum of regression trees.

    Attributes:
        start: What is added to the trees' values.
        roots: Index of each tree's first node.
        feature: Of each node, the feature that it looks at; -1 at a leaf.
        threshold: Of an inner node, up to which value one goes on with the next node, the left one;
            of a leaf, its value.
        right: Of each inner node, where one goes on above the threshold.
    """

    start: float
    roots: Ints
    feature: Ints
    threshold: Floats
    right: Ints

    def predict(self, rows: Floats) -> Floats:
        """Return the values of rows of features, rows x features."""
        at = np.broadcast_to(self.roots, (len(rows), len(self.roots))).copy()
        line = np.arange(len(rows))[:, None]
        while True:
            feature = self.feature[at]
            inner = feature >= 0
            if not inner.any():
                return self.start + self.threshold[at].sum(axis=1)
            left = rows[line, np.maximum(feature, 0)] <= self.threshold[at]
            at = np.where(inner, np.where(left, at + 1, self.right[at]), at)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file."""
        return {
            "start": self.start,
            "roots": self.roots.tolist(),
            "feature": self.feature.tolist(),
            "threshold": self.threshold.tolist(),
            "right": self.right.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Forest:
        """Return the forest that `to_dict` described.

        Raises:
            KeyError: For a missing part.
            ValueError: For parts that do not fit together.
        """
        ints = {n: np.array(data[n], np.int64) for n in ("roots", "feature", "right")}
        found = cls(float(data["start"]), threshold=np.array(data["threshold"], float), **ints)
        nodes = len(found.feature)
        if not len(found.threshold) == len(found.right) == nodes:
            raise ValueError("nodes of different number")
        for array in (found.roots, found.right):
            if len(array) and not (0 <= array.min() and array.max() < max(nodes, 1)):
                raise ValueError("a node that is not there")
        return found


def grow(rows: Floats, values: Floats, *, seed: int = 0, trees: int = 150) -> Forest:
    """Return boosted trees fitted to values; large errors count by their size, not its square.

    Args:
        rows: Features, rows x features.
        values: What to predict.
        seed: Of the draws.
        trees: How many.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=trees,
        max_depth=5,
        learning_rate=0.1,
        subsample=0.7,
        min_samples_leaf=4,
        loss="huber",
        random_state=seed,
    ).fit(rows, values)
    return of(model)


def of(model: Any) -> Forest:
    """Return the trees of a fitted model of scikit-learn, values and thresholds a little rounded.

    Args:
        model: A `sklearn.ensemble.GradientBoostingRegressor`.
    """
    start = float(model.init_.predict(np.zeros((1, model.n_features_in_)))[0])
    roots: list[int] = []
    parts: list[tuple[Ints, Floats, Ints]] = []
    offset = 0
    for (estimator,) in model.estimators_:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        assert (leaf | (tree.children_left == np.arange(tree.node_count) + 1)).all()
        worth = model.learning_rate * tree.value[:, 0, 0]
        parts.append(
            (
                np.where(leaf, -1, tree.feature),
                np.where(leaf, _short(worth), _short(tree.threshold, 6)),
                np.where(leaf, 0, tree.children_right + offset),
            )
        )
        roots.append(offset)
        offset += tree.node_count
    feature, threshold, right = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Forest(start, np.array(roots), feature, threshold, right)


def _short(values: Floats, digits: int = 4) -> Floats:
    """Return numbers with few digits, which keep a file small."""
    return np.array([float(f"{value:.{digits}g}") for value in values])
