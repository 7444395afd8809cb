"""What a search measures, and what it ranks networks by, for people."""

from __future__ import annotations

from yolo_nas_ext import plugins
from yolo_nas_ext.config.names import metric_name
from yolo_nas_ext.config.search import UNTRAINED, SearchSettings
from yolo_nas_ext.estimators.base import Estimator
from yolo_nas_ext.estimators.extrapolation import RANK
from yolo_nas_ext.estimators.factory import fitness_of
from yolo_nas_ext.estimators.training import PROJECTED
from yolo_nas_ext.study.measure import Measure


def measure_of(config: SearchSettings, estimator: Estimator) -> Measure:
    """Return what the fitness of a search is."""
    exact, name = not estimator.seeded, metric_name(config.task, config.fitness)
    if plugins.named(config.estimator):
        return Measure(exact=exact, trained=name)
    if config.estimator in UNTRAINED:
        return Measure(f"{config.estimator} score", exact=exact, trained=name)
    if fitness_of(config) == PROJECTED:
        return Measure(name, "host_fitness", RANK, exact)
    return Measure(name, exact=exact)
