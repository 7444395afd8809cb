"""`yolo nas-search`: the whole job, and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from yolo_nas_ext.console import say
from yolo_nas_ext.pipeline import job


def main(given: Mapping[str, Any]) -> int:
    """Run or resume a search; returns the exit code.

    It is 1 where no candidate could be evaluated, and 3 where the search is done in part.

    Raises:
        NASError: For bad input; nothing is written then.
    """
    done = job.search(given)
    if not done.study.complete:
        say("nas-search: no candidate could be evaluated; see trials.csv for why", file=sys.stderr)
        return 1
    return 3 if done.partial else 0
