"""A policy over the choices, learnt by REINFORCE (Zoph & Le 2017, arXiv:1611.01578)."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies.history import Past, worths
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.trial import Trial

LEARNT = 1000  # newest steps that the policy is replayed from: those before are forgotten by then
TRIES = 16  # draws of the policy before one is made feasible choice by choice


class Reinforce:
    """One categorical distribution a choice; what scores above the baseline becomes likelier.

    The policy is replayed from the history: the gradient of each trial's log-probability times its
    advantage over a running mean, in units of the running deviation, plus an entropy bonus that
    keeps every option possible. A trial that the policy did not draw itself teaches it as well.

    Args:
        space: Where to look.
        goal: Objectives and limits.
        rate: Step of the logits for an advantage of one deviation.
        entropy: Weight of the entropy bonus, relative to an advantage of one deviation.
        decay: Of the running mean and deviation, a trial.
        batch: Trials a step of the policy.
    """

    def __init__(
        self,
        space: ChoiceSpace,
        *,
        goal: Goal | None = None,
        rate: float = 0.3,
        entropy: float = 0.02,
        decay: float = 0.95,
        batch: int = 4,
    ) -> None:
        self.space = space
        self.goal = goal or Goal()
        self._past = Past(space, self.goal)
        self.rate = rate
        self.entropy = entropy
        self.decay = decay
        self.batch = batch
        self.names = [name for name, options in space.choices.items() if len(options) > 1]
        self._place = [
            {option: i for i, option in enumerate(space.choices[name])} for name in self.names
        ]
        most = max((len(place) for place in self._place), default=1)
        self._empty = np.full((len(self.names), most), -np.inf)  # logits, -inf beyond the options
        for row, place in zip(self._empty, self._place, strict=True):
            row[: len(place)] = 0.0

    def propose(self, history: Sequence[Trial], n: int, rng: random.Random) -> list[Point]:
        """Return `n` new points drawn from the policy."""
        past = self._past.read(history)
        policy = self._policy(past)
        weights = [row[: len(place)] for row, place in zip(policy, self._place, strict=True)]

        def draw() -> dict:
            return {
                name: rng.choices(self.space.choices[name], row)[0]
                for name, row in zip(self.names, weights, strict=True)
            }

        return past.fill(n, lambda: self._feasible(draw, rng), rng)

    def _policy(self, past: Past) -> np.ndarray:
        """Return the probabilities after some trials, of shape (choices, most options)."""
        first = max(0, len(past.trials) // self.batch - LEARNT) * self.batch
        trials = past.trials[first:]
        logits, codes = self._empty.copy(), self._codes(trials)
        worth = worths(past.values[first:], past.excess[first:]).tolist()
        rows = np.arange(len(self.names))
        mean, square, weight = 0.0, 0.0, 0.0
        for start in range(0, len(trials) - self.batch + 1, self.batch):
            part = slice(start, start + self.batch)
            probabilities = _softmax(logits)
            entropy = _entropy_gradient(probabilities)
            total = 0.0
            for code, value in zip(codes[part], worth[part], strict=True):
                mean = self.decay * mean + (1 - self.decay) * value
                square = self.decay * square + (1 - self.decay) * value**2
                weight = self.decay * weight + (1 - self.decay)
                centre = mean / weight
                deviation = max(square / weight - centre**2, 0.0) ** 0.5
                advantage = min(max((value - centre) / deviation, -3), 3) if deviation > 0 else 0.0
                logits[rows, code] += self.rate * advantage
                total += advantage
            logits -= self.rate * total * probabilities
            logits += self.rate * self.batch * self.entropy * entropy
        return _softmax(logits)

    def _codes(self, trials: Sequence[Trial]) -> np.ndarray:
        """Return the places of the chosen options, of shape (trials, choices)."""
        named = list(zip(self.names, self._place, strict=True))
        codes = [[place[t.point[name]] for name, place in named] for t in trials if t.point]
        return np.array(codes, dtype=int).reshape(len(codes), len(named))

    def _feasible(self, draw, rng: random.Random) -> Point:
        """Return a feasible draw, or a random point moved towards one as far as it stays so."""
        values = {name: options[0] for name, options in self.space.choices.items()}
        wish = values
        for _ in range(TRIES):
            wish = {**values, **draw()}
            point = self.space.canonical(wish)
            if self.space.feasible(point):
                return point
        point = self.space.sample(rng)
        for name in rng.sample(self.names, len(self.names)):
            moved = self.space.canonical({**point, name: wish[name]})
            if moved != point and self.space.feasible(moved):
                point = moved
        return point


def _softmax(logits: np.ndarray) -> np.ndarray:
    if not logits.size:
        return logits
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _entropy_gradient(probabilities: np.ndarray) -> np.ndarray:
    """Return the gradient of the entropy by the logits: -p (ln p + H)."""
    logs = np.log(np.maximum(probabilities, 1e-12))
    entropy = -(probabilities * logs).sum(axis=1, keepdims=True)
    return -probabilities * (logs + entropy)
