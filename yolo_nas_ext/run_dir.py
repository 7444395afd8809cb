"""The folder of a run: its settings, made for one process at a time."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from filelock import BaseFileLock, FileLock, Timeout

from yolo_nas_ext import __version__
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.config.fields import usual_threads
from yolo_nas_ext.config.search import MAY_CHANGE, SearchSettings, configure
from yolo_nas_ext.console import say
from yolo_nas_ext.errors import NASError, no_room
from yolo_nas_ext.files import json_of, refuse_links, text_of, write_text, yaml_of
from yolo_nas_ext.host import arguments, trust
from yolo_nas_ext.host.data_identity import changes, identity
from yolo_nas_ext.host.dataset import DataSet

SITTINGS = "seconds.json"
TRAITS = "trained_on"  # in the settings: what the data set was
# Keys that say nothing of a run, and are not recorded.
LOCK = ".lock"  # in a run folder, held by the process that writes there
OF_NOW = ("resume", "rerun", "trial", "follow_links", "verbose")
WEIGHTS = "started_from"  # in the settings: the digest of the parent's file
S = TypeVar("S", SearchSettings, CompareSettings)


def settings(given: Mapping[str, Any]) -> tuple[SearchSettings, Path | None]:
    """Return the settings of a search, and the folder of a run to resume."""

    def configured(given: Mapping[str, Any]) -> SearchSettings:
        return configure(given, arguments.TRAINING, arguments.REFUSED)

    config, folder = resumed(given, configured, MAY_CHANGE)
    arguments.check(config.host)
    if folder is None:
        shared = config.threads or usual_threads(config.jobs)
        return replace(config, threads=shared), None
    changed = config.given & {*given} & {*MAY_CHANGE}
    return replace(config, given=_given(folder, config) | changed), folder


def resumed(
    given: Mapping[str, Any],
    configured: Callable[[Mapping[str, Any]], S],
    may_change: Sequence[str],
    *,
    noun: str = "run",
    dropped: Collection[str] = (),
    marker: str = "",
) -> tuple[S, Path | None]:
    """Return the settings of a command, and the folder that ``resume`` names, if it does.

    Args:
        given: Keys and raw values.
        configured: Makes settings of them.
        may_change: Keys that may differ from those of the folder.
        noun: What the folder is of, for messages.
        dropped: Keys of folders of earlier versions that are none any more.
        marker: A key that folders of the command have, and those of others have not.

    Raises:
        NASError: For a key that differs from that of the folder and may not, or a folder that
            names code or places elsewhere, see `host.trust`.
    """
    config = configured(given)
    resume = config.values["resume"]
    if resume is None:
        return config, None
    folder = Path(resume)
    refuse_links(folder, "resume", follow=config.values["follow_links"])
    kept = {name: value for name, value in saved(folder).items() if name not in dropped}
    if marker and marker not in kept:
        raise NASError(f"resume={folder}: is not of a {noun}; give the folder of one")
    allow(folder, given)
    try:
        before = configured(kept)
    except NASError as error:
        raise NASError(f"resume={folder}: in its args.yaml {error}") from error
    for name in config.given - {*may_change, "name", "project"}:
        now, then = ({**c.values, **c.host}.get(name) for c in (config, before))
        if now != then:
            allowed = ", ".join(name for name in may_change if name != "resume")
            raise NASError(
                f"{name}={now}: the {noun} in {folder} has {name}={then}; leave it out to resume, "
                f"or start a new one. Only {allowed} may change"
            )
    # A storage given again has the password that no record has.
    changed = {name: given[name] for name in given if name in (*may_change, "storage")}
    return configured({**kept, **changed}), folder


def _given(folder: Path, config: SearchSettings) -> frozenset[str]:
    """Return the keys that were given when a run was started; its settings hold all of them."""
    content = _content(folder)
    if isinstance(names := content.get("given"), list):
        return frozenset(map(str, names))
    usual = SearchSettings().values  # of a run of an earlier version
    return frozenset(n for n in config.given if config.values.get(n) != usual.get(n))


def saved(folder: Path, key: str = "resume") -> dict[str, Any]:
    """Return the keys and values that a run was started with.

    Args:
        folder: The run folder.
        key: The user's key that names it, for messages.

    Raises:
        NASError: For a folder of no run, or a damaged file.
    """
    file = folder / "args.yaml"
    try:
        found = yaml_of(text_of(file)) if file.is_file() else None
    except OSError as error:
        raise NASError(
            f"{key}={folder}: {file} cannot be read ({error.strerror or error})"
        ) from error
    except (ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise NASError(
            f"{key}={folder}: {file} is damaged ({' '.join(str(error).split())}); put back "
            "the settings that the run was started with"
        ) from error
    if not isinstance(found, dict):
        raise NASError(
            f"{key}={folder}: not the folder of a run (no args.yaml in it); give the "
            "folder that `yolo nas-search` named, for example runs/nas/search"
        )
    for name in ("version", "given", TRAITS, WEIGHTS, trust.SIGNED):
        found.pop(name, None)
    return found


def _content(folder: Path) -> dict[str, Any]:
    """Return all that stands in the settings of a run, which are known to be readable."""
    return yaml_of(text_of(folder / "args.yaml"))


def allow(
    folder: Path, repeated: Collection[str], key: str = "resume", only: Collection[str] = ()
) -> None:
    """Refuse a run folder that names code or places elsewhere, unless its user wants it.

    Args:
        folder: The run folder.
        repeated: Keys that are given on the command line.
        key: The user's key that names the folder, for messages.
        only: The keys that the command uses; all where none are named.

    Raises:
        NASError: See `host.trust.check`.
    """
    content = saved(folder, key)
    trust.check(f"{key}={folder}", content, _content(folder).get(trust.SIGNED), repeated, only)


def claim(
    config: SearchSettings | CompareSettings, data: DataSet | None = None, weights: str = ""
) -> Path:
    """Return a new run folder, made for this run alone, with its settings in it.

    Args:
        config: The settings.
        data: The data set, if a resumed run is to notice that it has changed.
        weights: Digest of the parent's file, if a resumed run is to notice the same of it.
    """
    project = Path(config.project)
    given = {**config.values, **config.host, "version": __version__}
    given = {n: list(v) if isinstance(v, tuple) else v for n, v in given.items()}
    given = {n: v for n, v in given.items() if n not in OF_NOW}
    settings = {n: v for n, v in given.items() if n != "version"}
    given["given"] = sorted(config.given)  # some keys mean more where they were given
    given |= {WEIGHTS: weights} if weights else {}
    folder, lock = None, None
    try:
        project.mkdir(parents=True, exist_ok=True)
        folder, lock = _new_folder(config, project)
        # Reading the images may take its time, so the folder is there first; or it goes again.
        given |= {TRAITS: identity(data, say=say)} if data else {}
        given |= {trust.SIGNED: signed} if (signed := trust.signature(settings)) else {}
        write_text(folder / "args.yaml", yaml.safe_dump(given, sort_keys=False))
    except BaseException as error:
        if folder is not None:  # made on a disk that has no room for a file, or interrupted
            shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise NASError(
            f"project={config.project}: cannot write there ({error.strerror}); give a folder "
            "that can be written with project="
        ) from error
    finally:
        if lock is not None:
            lock.release()
    return folder


def _new_folder(
    config: SearchSettings | CompareSettings, project: Path
) -> tuple[Path, BaseFileLock]:
    """Make and return the folder of the run's name, or of that with the first free number.

    It comes with its lock. One of the name that was asked for is taken over where a process was
    killed before it had written anything.
    """
    number = 1
    while True:
        folder = project / (config.name + (str(number) if number > 1 else ""))
        lock, named = FileLock(folder / LOCK, timeout=0), "name" in config.given
        try:
            folder.mkdir()
            lock.acquire()
            return folder, lock
        except Timeout:  # another process was faster, and took it for one that was left
            pass
        except FileExistsError:
            if named and _abandoned(folder):
                with suppress(Timeout):
                    lock.acquire()
                    if _abandoned(folder):  # still, now that nobody else writes there
                        return folder, lock
                    lock.release()
            if named:
                raise NASError(
                    f"name={config.name}: {folder} exists; resume={folder} goes on with it, or "
                    "give another name"
                ) from None
        number += 1


def _abandoned(folder: Path) -> bool:
    """Say whether nothing is in a folder but what a process that was killed at its start leaves."""
    return (
        folder.is_dir()
        and not folder.is_symlink()
        and all(
            found.name == LOCK or (found.name.startswith(".") and found.suffix == ".tmp")
            for found in folder.iterdir()
        )
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process alone; the lock goes with it, however it ends."""
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise NASError(
            f"{folder}: another search writes here; wait for it or give another name"
        ) from None
    except OSError as error:
        raise NASError(
            f"{folder}: cannot be written ({error.strerror}); copy the run elsewhere"
        ) from error
    try:
        for left in folder.rglob(".*.tmp"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)
        yield
    except OSError as error:
        if full := no_room(error, f"resume={folder}: what was recorded is kept"):
            raise full from error
        raise
    finally:
        lock.release()


@contextmanager
def sitting(folder: Path) -> Iterator[None]:
    """Add the wall time of what is done inside to that of the run's earlier sittings."""
    begin = time.perf_counter()
    try:
        yield
    finally:
        total = spent(folder) + time.perf_counter() - begin
        with suppress(OSError):  # a full disk has been said, or is said by what is written next
            write_text(folder / SITTINGS, json.dumps({"seconds": total}) + "\n")


def spent(folder: Path) -> float:
    """Return the seconds of a run's sittings; one that was killed is not among them."""
    try:
        return float(json_of(text_of(folder / SITTINGS))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or it is damaged
        return 0.0


def check_data(folder: Path, data: DataSet, accepted: bool, *, keep_new: bool = True) -> str:
    """Return what to say of a data set that has changed since the run began; nothing if not.

    Args:
        folder: The run folder.
        data: The data set as it is now.
        accepted: Whether the user wants to go on with it; it is what is compared with from then on.
        keep_new: Whether the settings of the run shall know it, for a faster look next time.

    Raises:
        NASError: For one that has changed where that is not so.
    """
    content = _content(folder)
    before = content.get(TRAITS)  # of a run of an earlier version there is none
    try:
        now, found = {}, ""
        if isinstance(before, dict):
            now = identity(data, before, say=say)
            found = "; ".join(changes(before, now)) if now else ""
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise NASError(
            f"resume={folder}: {TRAITS} in its args.yaml is damaged ({error!r}); delete that entry "
            "to go on"
        ) from error
    if found and not accepted:
        raise NASError(
            f"resume={folder}: data={data.source} has changed since the run began ({found}), and "
            "fitness on it is not that of the trials so far; start a new run, or give "
            f"data={data.source} beside resume= to go on all the same"
        )
    # Also where it is the same and only its times, or an earlier version's record, are not.
    if now and keep_new:
        keep(folder, (TRAITS,), {TRAITS: now})
    return f"data={data.source} has changed since the run began ({found})" if found else ""


def check_weights(
    folder: Path, model: str, weights: str, accepted: bool, key: str = "model"
) -> str:
    """Return what to say of a parent that has changed since the run began; nothing if not.

    Args:
        folder: The run folder.
        model: The parent, as the user gave it.
        weights: Digest of its file.
        accepted: Whether the user wants to go on with it; it is what is compared with from then on.
        key: What the user gave it by.

    Raises:
        NASError: For one that has changed where that is not so.
    """
    content = _content(folder)
    before = content.get(WEIGHTS)  # of a run of an earlier version there is none
    if not before or before == weights:
        return ""
    if not accepted:
        raise NASError(
            f"resume={folder}: {key}={model} has changed since the run began, and candidates from "
            "it are not comparable with the trials so far; start a new run, or give "
            f"{key}={model} beside resume= to go on all the same"
        )
    keep(folder, (WEIGHTS,), {WEIGHTS: weights})
    return f"{key}={model} has changed since the run began"


def keep(folder: Path, names: Iterable[str], values: Mapping[str, Any]) -> None:
    """Write some settings that have changed on resuming into those of the run."""
    file, content = folder / "args.yaml", _content(folder)
    changed = {name: values[name] for name in names if content.get(name) != values[name]}
    if changed:
        write_text(file, yaml.safe_dump({**content, **changed}, sort_keys=False))
