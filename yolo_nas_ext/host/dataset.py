"""Reading a data set as Ultralytics does, without touching it, with errors that name the place."""

from __future__ import annotations

import contextlib
import gc
import glob
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from ultralytics.data import utils

from yolo_nas_ext.data import lesions
from yolo_nas_ext.data.builtin.cache import cache_folder
from yolo_nas_ext.data.groups import compiled
from yolo_nas_ext.data.scans import recipe
from yolo_nas_ext.data.splits import subset
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import CLASSES, is_class_name, said
from yolo_nas_ext.host import classes, doubts, parts, scan_cache
from yolo_nas_ext.host.data_yaml import checked, located, mapping, quiet
from yolo_nas_ext.host.labels import even, scan, scan_masks, text
from yolo_nas_ext.host.parts import grouped, named
from yolo_nas_ext.host.scanning import MANY, WORTH
from yolo_nas_ext.network.rows import KEYPOINTS

BAD = 0.1  # part of the images whose labels may be none
FIRST = 3  # bad labels that an error names
POINTS = 1000  # keypoints of an object
NAMED = 10  # images left out that are named on the screen
LIST = "skipped.txt"
DOUBTS = "doubts"  # and what is odd about it
BESIDE = "found_beside"  # key of a data dictionary: what is said of folders beside the YAML


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set with one part of it verified: train, unless another was asked for.

    Attributes:
        source: As the user gave it.
        yaml: The data YAML, or None for a folder without one.
        task: Task it was read for.
        names: Class names by index.
        nc: Number of classes.
        channels: Channels of its images.
        images: Images of the part that was read, sorted.
        labels: For each of them Ultralytics' label dictionary.
        skipped: A line for each image or label file that was left out.
        data: Ultralytics' data dictionary.
        keypoints: Number of keypoints and numbers a point, of the task pose.
        contents: For each image a digest of its pixels.
        looks: For each image what it looks like, as of `data.near_copies`.
        kin: For each image the group that its name says; empty where it says none.
        together: For each image what it may not be separated from.
        notes: What was found beside what is left out, for the user.
        stamp: Digest of the names, sizes and times of its files, by which what follows from them is
            kept; empty of few images, and of a choice of images.
    """

    source: str
    yaml: Path | None
    task: str
    names: dict[int, str]
    nc: int
    channels: int
    images: tuple[str, ...]
    labels: tuple[dict[str, Any], ...] = field(repr=False)
    skipped: tuple[str, ...]
    data: dict[str, Any] = field(repr=False)
    keypoints: tuple[int, int] = KEYPOINTS
    contents: tuple[str, ...] = field(default=(), repr=False)
    looks: tuple[bytes, ...] = field(default=(), repr=False)
    kin: tuple[str, ...] = field(default=(), repr=False)
    together: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    stamp: str = ""

    @property
    def scans(self) -> dict[str, Any] | None:
        """How the scans it was made of were converted; None for other data sets."""
        try:
            places = [self.yaml or self.source, self.data.get("path")]
            found = next(filter(None, (recipe.beside(p) for p in places if p)), None)
        except NASError:  # of another version, and a training is not to end for that
            return None
        return found.to_dict() if found else None

    @property
    def sampled(self) -> float:
        """Part of the slices without an object that train has, of a data set of scans; else 1."""
        found = self.scans
        return float(found["options"]["cut"]["empty"]) if found else 1.0

    @property
    def lesions(self) -> dict[str, list[int]]:
        """The lesion of every label of a picture, by its stem, where the data set says it."""
        places = [self.yaml.parent if self.yaml else None, self.data.get("path")]
        return next(filter(None, (lesions.read(Path(p)) for p in places if p)), {})

    @property
    def groups(self) -> tuple[str, ...]:
        """What each image may not be separated from."""
        if len(self.together) == len(self.images):
            return self.together
        return tuple(
            name or image for name, image in zip(named(self.images), self.images, strict=True)
        )

    @property
    def said(self) -> tuple[str, ...]:
        """A line for each of the first `NAMED` images that are left out, and one for the others."""
        more = len(self.skipped) - NAMED
        rest = f"{more} more images are skipped, named in {LIST} of the results"
        return (*self.skipped[:NAMED], *([rest] if more > 0 else []))

    @property
    def classes(self) -> tuple[frozenset[int], ...]:
        """Classes in each image."""
        return tuple(frozenset(map(int, label["cls"].ravel().tolist())) for label in self.labels)


def read(
    data: str | Path, task: str = "detect", part: str = "train", *, group: str | None = None
) -> DataSet:
    """Return a data set with the images and labels of a part checked as Ultralytics does.

    Args:
        data: A data YAML, a name in the shipped `datasets/`, a data set of Ultralytics, or a folder
            with ``images/train``, ``images/val``, ``labels/train`` and ``labels/val``.
        task: Task to read it for.
        part: ``train``, or ``val`` or ``test`` for what a search does not look at.
        group: Regular expression that finds in a path what images belong together; guessed from
            names and from equal content without.

    Returns:
        The data set; images that cannot be used are left out and named in `skipped`. Nothing is
        written beside the images. The other part is only checked for images.

    Raises:
        NASError: For a missing or malformed data set, an empty split or no labels. Also where more
            than a tenth of the images have labels that are none: their files and lines are named.
    """
    path = located(str(data))
    if task == "classify":
        return _classes(str(data), path, part, group)
    with _no_collection():
        return _read(str(data), path, task, part, group)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Look for no garbage meanwhile, as Ultralytics: of many labels that takes most of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _read(data: str, path: Path, task: str, part: str, group: str | None) -> DataSet:
    """Return a data set with labels of objects."""
    content = _folder(path) if path.is_dir() else _host_dictionary(path)
    keypoints = _keypoints(path, content) if task == "pose" else _points_beside(content)
    names = {int(index): str(name) for index, name in content["names"].items()}
    if part == "test" and not content.get("test"):
        raise NASError(f"data={data}: has no test part; name its folder in the YAML, or use val")
    # An external test set has no others.
    wanted = ("test",) if part == "test" else ("train", "val")
    images = {split: _images(content[split], f"data={data}: {split}") for split in wanted}
    drawn = task == "semantic" and content.get("masks_dir")
    if drawn:
        found = scan_masks(images[part], content, f"data={data}")
    else:
        whole = sum(map(len, images.values())) < MANY
        found = scan(images[part], content, task, keypoints, whole=whole, folder=cache_folder())
    if found.badly > max(1, BAD * len(images[part])):
        raise NASError(
            f"data={data}: {part}: {found.badly} of {len(images[part])} images have labels that "
            f"cannot be used; {'; '.join(_reasons(found.skipped))}{_listed(found.skipped)}"
        )
    if not found.images:
        raise NASError(
            f"data={data}: {part}: none of {len(images[part])} images can be read; "
            f"{found.skipped[0]}{doubts.of_list(content[part])}"
        )
    notes = [*filter(None, [content.get(BESIDE)]), *content.get(DOUBTS, ()), *found.notes]
    if not drawn:
        others = [image for split in images if split != part for image in images[split]]
        notes += doubts.of_labels(images[part], others, content[part], part)
    if part == "train":
        notes += filter(None, [parts.same_files(images["train"], images["val"])])
    if task == "pose":
        _check_flips(path, content, keypoints)
    if task == "semantic":  # what no polygon covers is a class of its own where there are several
        content = utils.add_polygon_background(dict(content))
        names = {int(index): str(name) for index, name in content["names"].items()}
    if not drawn and not any(len(label["cls"]) for label in found.labels):
        where = utils.img2label_paths([found.images[0]])[0]
        raise NASError(
            f"data={data}: {part}: no labels at all; each image needs a text file such as {where} "
            "with a line 'class x y width height' an object, relative to the image's size"
            f"{doubts.of_others(found.images[0], where)}"
        )
    together, said, kin = _kinship(found.images, found.contents, found.looks, group)
    if said and part == "train":
        notes.append(said)
    return DataSet(
        data,
        None if path.is_dir() else path,
        task,
        names,
        len(names),
        content["channels"],
        tuple(found.images),
        tuple(found.labels),
        tuple(found.skipped),
        content,
        (keypoints if task == "pose" else None) or KEYPOINTS,
        tuple(found.contents),
        tuple(found.looks),
        kin,
        together,
        tuple(notes),
        found.stamp,
    )


def _kinship(
    images: Sequence[str], contents: Sequence[str], looks: Sequence[bytes], group: str | None
) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return what each image may not be separated from, what is said of it, and named groups.

    Of many images it is kept with what was read of them.
    """

    def made() -> list[Any]:
        return [*grouped(images, contents, group, looks=looks), named(images, compiled(group))]

    about = "\0".join([str(group), *images, *contents])
    together, said, kin = scan_cache.kept(cache_folder(), about, made, len(images) >= WORTH)
    return tuple(together), said, tuple(kin)


def kept_of(data: DataSet, what: Sequence[Any], make: Callable[[], Any]) -> Any:
    """Return what follows from a data set's files alone, kept for the next start where it is worth.

    Args:
        data: The data set; what follows from one without a stamp is not kept.
        what: What it is and all else that it follows from, in numbers and texts.
        make: Returns it, of what JSON knows.
    """
    if not data.stamp:
        return make()
    groups = hashlib.sha256("\0".join(data.together).encode("utf-8", "replace")).hexdigest()
    meaning = [data.stamp, data.task, groups, list(data.names.values()), data.skipped, what]
    return scan_cache.kept(cache_folder(), json.dumps(meaning, default=str), make, True)


def _reasons(skipped: Sequence[str]) -> list[str]:
    """Return what is wrong with the first images that are left out."""
    return [line.partition(": ")[2] for line in skipped[:FIRST]]


def _listed(skipped: Sequence[str]) -> str:
    """Write the names of more bad images than a line takes into a file of the system's own."""
    if len(skipped) <= FIRST:
        return ""
    with tempfile.NamedTemporaryFile(
        "w", prefix="yolo-nas-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.writelines(f"{line}\n" for line in skipped)
    return f"; all are named in {file.name}"


def overlap(train: DataSet, measured: DataSet, part: str = "val") -> str:
    """Return what a part shares with train that it must not; nothing where that is nothing."""
    ours, theirs = (
        parts.Side(data.images, data.contents, data.kin, data.looks) for data in (train, measured)
    )
    return parts.overlap(ours, theirs, part)


def drawn(data: DataSet, images: int, seed: int) -> DataSet:
    """Return a data set of some of its images, the classes about as frequent as in all.

    Raises:
        NASError: For more images than there are.
    """
    if images > len(data.images):
        raise NASError(
            f"images={images}: the training part has {len(data.images)}; give at most as many, or "
            "leave it out"
        )
    chosen = subset(data.classes, images, seed=seed)

    def some(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[index] for index in chosen) if len(values) else ()

    return replace(
        data,
        stamp="",
        **{
            name: some(getattr(data, name))
            for name in ("images", "labels", "contents", "looks", "kin", "together")
        },
    )


def joined(first: DataSet, second: DataSet) -> DataSet:
    """Return a data set of the images of two parts, in this order."""
    labels = tuple(dict(label) for label in first.labels + second.labels)
    note = even(labels, first.task)  # one part may hold polygons, and the other boxes
    return replace(
        first,
        stamp="",
        images=first.images + second.images,
        labels=labels,
        skipped=first.skipped + second.skipped,
        contents=first.contents + second.contents,
        looks=first.looks + second.looks,
        kin=first.kin + second.kin,
        together=first.groups + second.groups,
        notes=(*first.notes, *second.notes, *filter(None, [note])),
    )


def _keypoints(path: Path, content: dict[str, Any]) -> tuple[int, int]:
    """Return the number of keypoints and of numbers a point that a data YAML says."""
    shape = content.get("kpt_shape")
    if (
        not isinstance(shape, (list, tuple))
        or len(shape) != 2
        or shape[1] not in (2, 3)
        or type(shape[0]) is not int
        or not 0 < shape[0] <= POINTS
    ):
        raise NASError(
            f"data={path}: key 'kpt_shape' is {shape!r}; task=pose needs the number of keypoints "
            "and 2 or 3 numbers a point, as in kpt_shape: [17, 3]"
        )
    return int(shape[0]), int(shape[1])


def _classes(source: str, folder: Path, part: str, group: str | None) -> DataSet:
    """Return a data set for classification, of folders of classes."""
    found = classes.read(source, folder, part, group)
    names = found.names
    content = {
        "path": folder,
        "train": str(found.folders["train"]),
        "val": str(found.folders["val"]),
        "names": names,
        "nc": len(names),
        "channels": 3,
    }
    scanned = found.scanned
    together, said = grouped(
        scanned.images, scanned.contents, group, looks=scanned.looks, classes=True
    )
    return DataSet(
        source,
        None,
        "classify",
        names,
        len(names),
        3,
        tuple(scanned.images),
        tuple(scanned.labels),
        tuple(scanned.skipped),
        content,
        contents=tuple(scanned.contents),
        looks=tuple(scanned.looks),
        kin=tuple(named(scanned.images, compiled(group), classes=True)),
        together=together,
        notes=(*scanned.notes, *([said] if said and part == "train" else [])),
    )


def _points_beside(content: dict[str, Any]) -> tuple[int, int] | None:
    """Return the keypoints that labels have beside their boxes, of a data set of poses."""
    try:
        n, numbers = map(int, content.get("kpt_shape") or ())
    except (TypeError, ValueError):
        return None
    return (n, numbers) if n else None


def _check_flips(path: Path, content: dict[str, Any], keypoints: tuple[int, int] | None) -> None:
    """Refuse a ``flip_idx`` that Ultralytics would refuse in every training."""
    flips, n = content.get("flip_idx"), (keypoints or KEYPOINTS)[0]
    if flips is None:
        return
    if not isinstance(flips, (list, tuple)) or sorted(map(str, flips)) != sorted(
        map(str, range(n))
    ):
        raise NASError(
            f"data={path}: key 'flip_idx' is {flips!r}; give each of the "
            f"{n} keypoints (0 to {n - 1}) once, in a mirrored picture's order, or leave it out"
        )


def _host_dictionary(path: Path) -> dict[str, Any]:
    """Return Ultralytics' data dictionary of a YAML, after its download code where it has to."""
    content = mapping(path)
    _check_values(path, content)
    for key in ("train", "val"):
        if not content.get(key) and not (key == "val" and content.get("validation")):
            raise NASError(
                f"data={path}: key '{key}' is missing: the folder of its images; it has "
                f"{', '.join(str(k)[:20] for k in [*content][:NAMED])}"
            )
    try:
        with quiet(), _beside(path, content) as file:
            data = {**checked(file, path, content), "yaml_file": str(path)}
        if file != path:
            data[BESIDE] = (
                f"{path.name} names folders that are not there; those beside it are taken, which "
                "stock Ultralytics does not find"
            )
        data[DOUBTS] = doubts.of_names(content.get("names"))
    except NASError:  # of our own data sets' download code
        raise
    except (Exception, SystemExit) as error:  # download code may do anything
        reason = " ".join(str(error).replace("❌", "").split())
        if isinstance(error, SystemExit):
            reason = f"its download code exits with {reason or 0}"
        raise NASError(f"data={path}: {reason}") from error
    return data


@contextlib.contextmanager
def _beside(path: Path, content: dict[str, Any]) -> Iterator[Path]:
    """Yield a YAML whose folders are found: where Ultralytics finds none, those beside the YAML.

    It takes a relative ``path`` from the folder where the command is typed or from its own folder
    of data sets, while people write it, as ``../images``, from where the YAML is.
    """
    key = "val" if content.get("val") else "validation"
    given = {k: content[k] for k in ("train", key, "test") if content.get(k)}
    root = Path(str(content.get("path") or ""))
    first = [Path(), path.parent] if not content.get("path") else [root, utils.DATASETS_DIR / root]
    there = _found(first[-1] if not content.get("path") else first[0], given) or (
        not root.exists() and _found(first[-1], given)
    )
    where = [path.parent / root, path.parent]
    if content.get("download"):  # which puts the images where it wants
        where = []
    if not there and (base := next((w for w in where if _found(w, given, meant=True)), None)):
        changed = {**content, "path": str(base.resolve())}
        for name, value in given.items():
            each = [value] if isinstance(value, str) else value
            found = [str(_at(base, v, meant=True) or v) for v in each]
            changed[name] = found[0] if isinstance(value, str) else found
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / path.name
            file.write_text(yaml.safe_dump(changed, allow_unicode=True), encoding="utf-8")
            yield file
    else:
        yield path


def _at(base: Path, value: str, *, meant: bool = False) -> Path | None:
    """Return a part's folder or file below a base, if it is there.

    Args:
        base: The folder.
        value: As it is written; of ``../x`` Ultralytics takes ``x``, too, as Roboflow means it.
        meant: Whether Windows' signs and a path of another machine are taken for what they mean:
            the longest end of it that is there, of two names or more.
    """
    ways = [base / value, *([base / value[3:]] if value.startswith("../") else [])]
    if meant:
        plain = value.strip().replace("\\", "/")
        names = [name for name in plain.split("/") if name not in ("", ".")]
        ways += [base / plain, base / plain.lstrip("./")]
        ways += [base.joinpath(*names[start:]) for start in range(1, len(names) - 1)]
        ways += [base.joinpath(*names)] if len(names) > 1 else []
    return next((way.resolve() for way in ways if way.exists()), None)


def _found(base: Path, given: dict[str, Any], *, meant: bool = False) -> bool:
    """Say whether the folders of all parts but test are below a base."""
    values = [v for name, v in given.items() if name != "test"]
    each = [v for value in values for v in ([value] if isinstance(value, str) else value)]
    return all(isinstance(v, str) and _at(base, v, meant=meant) is not None for v in each)


def _check_values(path: Path, content: dict[str, Any]) -> None:
    """Refuse values that Ultralytics passes over, or meets with an error of Python's.

    Raises:
        NASError: Naming the key.
    """
    for key in ("train", "val", "validation", "test"):
        value = content.get(key) or ""
        each = value if isinstance(value, list) else [value]
        if not all(isinstance(folder, str) for folder in each):
            raise NASError(f"data={path}: key '{key}': {value}; give a folder or a list of folders")
    _check_names(path, content.get("names"))
    for key, least, most in (("channels", 1, 1000), ("nc", 0, CLASSES)):
        value = content.get(key, least)
        whole = type(value) is int or (key == "nc" and value is None)
        if not whole or not least <= (value or 0) <= most:
            raise NASError(
                f"data={path}: {key}={value!r}: give a whole number of {least} to {most}"
            )


def _check_names(path: Path, names: Any) -> None:
    """Refuse classes that are not numbered from 0 without a gap."""
    if isinstance(names, dict | list) and len(names) > CLASSES:
        raise NASError(f"data={path}: key 'names': {len(names):,} classes, at most {CLASSES:,}")
    listed = names.values() if isinstance(names, dict) else names
    for name in listed if isinstance(names, dict | list) else ():  # Ultralytics refuses others
        if not is_class_name(str(name)):
            raise NASError(
                f"data={path}: key 'names': {said(str(name))} can be no class, as results are put "
                "into folders of their names; give a plain name"
            )
    if isinstance(names, dict) and {str(key) for key in names} != set(map(str, range(len(names)))):
        raise NASError(
            f"data={path}: key 'names': the classes are {', '.join(map(str, names))[:80]}; number "
            f"the {len(names)} of them from 0 to {len(names) - 1}"
        )


def _folder(folder: Path) -> dict[str, Any]:
    """Return a data dictionary for a folder in YOLO layout that has no YAML."""
    splits = parts.called(folder / "images")
    if "train" not in splits:  # or a folder a part, each with images and labels
        inside = {part: path / "images" for part, path in parts.called(folder).items()}
        splits = {part: path for part, path in inside.items() if path.is_dir()} or splits
    for part in ("train", "val"):
        if part not in splits:
            raise NASError(
                f"data={folder}: has no data.yaml and no folder images/{part}; give a data YAML, "
                "or a folder with images/train, images/val, labels/train and labels/val"
            )
    names = _names(folder)
    return {
        "path": folder.resolve(),
        **{split: str(path.resolve()) for split, path in splits.items()},
        "names": names,
        "nc": len(names),
        "channels": 3,
    }


def _names(folder: Path) -> dict[int, str]:
    """Return the class names of a folder: as listed, or numbered up to the largest label."""
    listed = folder / "classes.txt"
    if listed.is_file():
        lines = [line.strip() for line in text(listed).splitlines()]
        listed_names = [line for line in lines if line]
        _check_names(listed, listed_names)
        return dict(enumerate(listed_names))
    for path in (folder / "data.yaml", folder / f"{folder.name}.yaml"):
        names = mapping(path).get("names") if path.is_file() else None
        if names and isinstance(names, (list, dict)):
            _check_names(path, names)
            return utils.check_class_names(names)
    top = 0
    files = [*(folder / "labels").rglob("*.txt"), *folder.glob("*/labels/*.txt")]
    for file in files:
        for line in text(file).splitlines():
            first = line.split()[0] if line.split() else ""
            if first.isdecimal() and not (len(first) < 9 and int(first) < CLASSES):
                raise NASError(f"{file}: class {first[:20]}, at most {CLASSES:,} are known")
            top = max(top, int(first)) if first.isdecimal() else top
    return {index: f"class_{index}" for index in range(top + 1)}


def _images(source: str | Sequence[str], where: str) -> list[str]:
    """Return the images of a split: of folders, and of text files that list them."""
    found: list[str] = []
    for path in map(Path, [source] if isinstance(source, str) else source):
        if path.is_dir():
            # Without hidden files, as Ultralytics: macOS leaves a "._name" beside every image.
            found += glob.glob(str(Path(glob.escape(str(path))) / "**" / "*.*"), recursive=True)
        elif path.suffix[1:].lower() in utils.IMG_FORMATS:
            raise NASError(f"{where}: {path} is one image; give its folder, or a list of images")
        elif path.is_file():
            lines = text(path).split("\n")
            found += [
                str(path.parent / line[2:]) if line.startswith("./") else line
                for line in map(str.strip, lines)
                if line
            ]
        else:
            raise NASError(f"{where}: {path} does not exist")
    images = sorted(f for f in found if f.rpartition(".")[-1].lower() in utils.IMG_FORMATS)
    if not images:
        raise NASError(
            f"{where}: no images in {source}; scans of one patient leave none for val, and images "
            "are "
            f"{', '.join(sorted(utils.IMG_FORMATS))}{doubts.of_list(source)}"
        )
    return images
