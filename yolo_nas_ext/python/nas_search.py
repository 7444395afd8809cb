"""`YOLO.nas_search`: the whole job of `yolo nas-search` from a model of Ultralytics.

The keys in its signature are those of the command; the stub beside it has them for editors.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.search import KEYS
from yolo_nas_ext.config.stub import LEFT_OUT
from yolo_nas_ext.errors import NASError


def nas_search(
    model: Any = None, *, callbacks: Mapping[str, Any] | None = None, **keys: Any
) -> Any:
    """Search a network that suits a data set, from the weights of a model.

    ``YOLO("yolo11n.pt").nas_search(data="my.yaml")`` is the same as
    ``nas_search("yolo11n.pt", data="my.yaml")``. `yolo nas-search help` explains every key.

    Args:
        model: Where the search starts: a ``YOLO`` of a ``.pt``, or its path. A ``YOLO`` of a YAML
            is measured as the first baseline of a search from random weights, as it has no weights.
        callbacks: Functions by event: ``on_trial_start`` and ``on_trial_end`` get a
            `python.events.TrialEvent`, ``on_search_end`` gets the result. Those that were added by
            ``model.add_callback`` are called, too.
        **keys: Keys of `yolo nas-search` and of Ultralytics' training; ``verbose=False`` prints
            nothing but errors.

    Returns:
        A `python.result.SearchResult`: ``.best`` as a loaded ``YOLO``, ``.front``, ``.verdict``,
        ``.study``, ``.folder`` and ``.to_dataframe()``.

    Raises:
        NASError: For bad input; nothing is written then.
    """
    from yolo_nas_ext.pipeline import job  # loads torch and Ultralytics
    from yolo_nas_ext.python.bar import Bar, in_notebook
    from yolo_nas_ext.python.events import EVENTS, Callbacks, gathered
    from yolo_nas_ext.python.result import SearchResult

    if "rerun" in keys:
        raise NASError(
            f"rerun={keys['rerun']}: not of a search in Python; type yolo nas-search rerun=<run> "
            "trial=<number>"
        )
    added = getattr(model, "callbacks", None) or {}
    functions = gathered({e: added[e] for e in EVENTS if e in added}, callbacks or {})
    given = {name: _typed(value) for name, value in {**start_of(model, keys), **keys}.items()}
    bars = [Bar()] if given.get("verbose", True) and in_notebook() else []
    return SearchResult(job.search(given, (*bars, Callbacks(functions))))


def _typed(value: Any) -> Any:
    """Return a value as the command's keys take it: paths as texts."""
    return str(value) if isinstance(value, Path) else value


def start_of(model: Any, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key that says where the search starts.

    Raises:
        NASError: For a model that is in no file.
    """
    if model is None or keys.get("resume"):  # a run has its own
        return {}
    if "model" in keys:
        raise NASError(f"model={keys['model']}: given twice, as the search is one of a model")
    if isinstance(model, (str, Path)):
        return {"model": str(model)}
    if file := _file(model):
        return {"model": file}
    definition = str(model.overrides.get("model", ""))
    if Path(definition).suffix in (".yaml", ".yml") and not model.ckpt:
        usual = {} if "baseline" in keys else {"baseline": definition}
        return {**usual, **({} if "task" in keys else {"task": model.task})}
    raise NASError(
        f"model={definition}: its weights are in no .pt file, and a search starts from one; save "
        "it by model.save('mine.pt') and take YOLO('mine.pt')"
    )


def _file(model: Any) -> str:
    """Return the file with the weights that a ``YOLO`` has now; nothing where there is none."""
    source, trainer = str(model.overrides.get("model", "")), getattr(model, "trainer", None)
    if not source.endswith(".pt"):
        return ""
    if trainer is not None and source in (str(trainer.best), str(trainer.last)):
        return source
    loaded = str(model.ckpt_path)  # of another file where `load` took weights from that
    return loaded if Path(loaded).name == Path(source).name else ""


def _signature() -> inspect.Signature:
    """Return the signature with every key of the command, for those who ask at run time."""
    kind, keyword = inspect.Parameter, inspect.Parameter.KEYWORD_ONLY
    known = [
        kind(key.name, keyword, default=key.parse(key.usual), annotation=key.kind)
        for key in KEYS.values()
        if key.name not in LEFT_OUT
    ]
    own = [
        kind("model", kind.POSITIONAL_OR_KEYWORD, default=None),
        kind("callbacks", keyword, default=None),
    ]
    return inspect.Signature([*own, *known, kind("training", kind.VAR_KEYWORD)])


nas_search.__signature__ = _signature()  # pyright: ignore[reportFunctionMemberAccess]
