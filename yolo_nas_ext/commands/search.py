"""`yolo nas-search`: the whole job, and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.config.settings import read
from yolo_nas_ext.console import say
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host import arguments
from yolo_nas_ext.pipeline import job
from yolo_nas_ext.pipeline.rerun import rerun


def main(given: Mapping[str, Any]) -> int:
    """Run or resume a search, or evaluate one trial of a run once more; returns the exit code.

    It is 1 where no candidate could be evaluated, or a trial is not what it was, and 3 where the
    search is done in part.

    Raises:
        NASError: For bad input; nothing is written then.
    """
    if given.get("rerun"):
        return _rerun(given)
    done = job.search(given)
    if not done.study.complete:
        say("nas-search: no candidate could be evaluated; see trials.csv for why", file=sys.stderr)
        return 1
    return 3 if done.partial else 0


def _rerun(given: Mapping[str, Any]) -> int:
    """Evaluate one trial of a run once more."""
    check(read(SearchSettings, given, arguments.TRAINING, arguments.REFUSED))
    try:
        return 0 if rerun(given) else 1
    except TrialError as error:
        say(f"nas-search: the trial failed ({error})", file=sys.stderr)
        return 1
