"""A mask laid on its scan: as it is, voxel by voxel, or resampled where it has another grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from nibabel import orientations

from yolo_nas_ext.data.scans.volumes import STANDARD, Facts, Scan, ScanError, Volume
from yolo_nas_ext.data.scans.write_back import native

SAME = 0.1  # voxels that the corners of a mask may be off those of its image without a word
HALF = 0.5  # voxels; up to here the nearest voxel is the one of the same index
TIE = 1e-6  # voxels; between two voxels the later one is taken, whatever rounding says

NUDGED = f"masks up to {HALF:g} voxels off are taken voxel by voxel"
PLACELESS = "masks whose header says no place are taken voxel by voxel"
OTHERWISE = "scans that readers put at two places (sform and qform, or a tilt) have masks at either"
UNPLACED = "scans whose header says no place take their masks voxel by voxel"
RESAMPLED = "masks on another grid are resampled (nearest)"
CUT = "labelled voxels of masks that lie outside of the scan are lost"


@dataclass(frozen=True, slots=True)
class Laid:
    """A mask as its scan's voxels see it: the nearest of its own, 0 outside of it.

    Attributes:
        mask: What is resampled, a plane at a time.
        image: Whose grid it is wanted on.
        facts: What the header said.
    """

    mask: Volume
    image: Volume
    facts: Facts = field(default_factory=Facts)

    def planes(self, axis: int) -> int:
        """Return the number of slices across an axis."""
        return self.image.stored.shape[axis]

    def plane(self, axis: int, index: int) -> np.ndarray:
        """Return a slice (h, w) of labels as it is looked at."""
        to = np.linalg.inv(self.mask.affine) @ self.image.affine
        first, second = (a for a in range(3) if a != axis)
        shape = self.image.stored.shape
        i, j = np.ogrid[: shape[first], : shape[second]]
        inside = np.ones((shape[first], shape[second]), bool)
        at = []
        for row, size in zip(to[:3], self.mask.stored.shape, strict=True):
            place = row[first] * i + row[second] * j + row[axis] * index + row[3]
            nearest = np.floor(place + HALF + TIE).astype(np.int64)
            inside &= (nearest >= 0) & (nearest < size)
            at.append(np.clip(nearest, 0, size - 1))
        found = self.mask.values(self.mask.stored[tuple(at)])
        flat = np.where(inside, found, np.zeros((), found.dtype)).T
        return flat if axis == 2 else flat[::-1]

    def spacing_of(self, axis: int) -> tuple[float, float]:
        """Return the distance of a slice's rows and of its columns in mm."""
        return self.image.spacing_of(axis)


def lay(
    image: Scan, mask: Scan, axis: int, *, same_frame: bool = False
) -> tuple[Scan, tuple[str, ...]]:
    """Return a mask as it lies on its image, and what was done to it, for the user.

    A mask of the same shape that its header puts elsewhere is refused, as one of both headers is
    wrong and nobody knows which; one of another shape is on another grid on purpose.

    Args:
        image: A scan.
        mask: Its mask.
        axis: The axis that both are cut across.
        same_frame: Whether both are known to be of one frame of reference, as DICOM says it.

    Raises:
        ScanError: For a mask that does not lie on its image.
    """
    if isinstance(image, Volume) and isinstance(mask, Volume):
        return _volumes(image, mask, same_frame=same_frame)
    shapes = [s.plane(axis, 0).shape[:2] for s in (mask, image)]
    if shapes[0] != shapes[1] or image.planes(axis) != mask.planes(axis):
        raise ScanError(
            "shape", f"has a mask of {shapes[0]} pixels, but is {shapes[1]}; resize one of them"
        )
    return mask, ()


def _volumes(image: Volume, mask: Volume, *, same_frame: bool) -> tuple[Scan, tuple[str, ...]]:
    alike = image.stored.shape == mask.stored.shape
    if alike and _off(image, mask) <= SAME * min(image.spacing):
        return mask, ()
    if not image.facts.placed and alike:
        return mask, (UNPLACED,)
    if mask.facts.blank or not mask.facts.placed:
        by_index = _by_index(image, mask)
        if by_index.stored.shape == image.stored.shape:
            return by_index, (PLACELESS,)
    if _at_the_other(image, mask):
        return _by_index(image, mask), (OTHERWISE,)
    if alike and not same_frame:
        voxels = np.linalg.inv(image.affine) @ mask.affine
        turned = np.abs(voxels[:3, :3] - np.eye(3)).max() * max(image.stored.shape)
        if turned < HALF and np.abs(voxels[:3, 3]).max() <= HALF:
            return mask, (NUDGED,)
        raise ScanError(
            "affine",
            f"has a mask whose affine puts it {_off(image, mask):.3g} mm elsewhere; "
            "correct the header or resample the mask",
        )
    if not (image.facts.placed and mask.facts.placed):
        sizes = (" x ".join(map(str, v.stored.shape)) for v in (mask, image))
        raise ScanError(
            "shape", "has a mask of {} voxels, but is {}; resample one of them".format(*sizes)
        )
    return Laid(mask, image), (*[RESAMPLED] * (not _part_of(image, mask)), *_lost(image, mask))


def _at_the_other(image: Volume, mask: Volume) -> bool:
    """Say whether a mask lies where other readers put its scan; see `volumes.Facts.other`."""
    (voxels, own), (labels, its) = native(image, image.stored), native(mask, mask.stored)
    if voxels.shape != labels.shape:
        return False
    ways = [
        [a for a in (v, f.other) if a is not None]
        for v, f in ((own, image.facts), (its, mask.facts))
    ]
    near = SAME * min(image.spacing)
    return any(_apart(a, b, voxels.shape) <= near for a in ways[0] for b in ways[1])


def _part_of(image: Volume, mask: Volume) -> bool:
    """Say whether a mask's voxels are some of its image's, so that nothing is resampled."""
    voxels = np.linalg.inv(image.affine) @ mask.affine
    turned = np.abs(voxels[:3, :3] - np.eye(3)).max() * max(mask.stored.shape)
    return turned < SAME and bool((np.abs(voxels[:3, 3] - np.rint(voxels[:3, 3])) < SAME).all())


def _off(image: Volume, mask: Volume) -> float:
    """Return how far corners of voxels of the same index are apart, in mm."""
    return _apart(image.affine, mask.affine, image.stored.shape)


def _apart(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    corners = np.array([[*((np.array(shape) - 1) * c), 1] for c in np.ndindex(2, 2, 2)])
    return float(np.linalg.norm(((one - other) @ corners.T)[:3], axis=0).max())


def _by_index(image: Volume, mask: Volume) -> Volume:
    """Return a mask whose voxels are in the order of the image's file."""
    standard = orientations.axcodes2ornt(STANDARD)
    as_stored = orientations.ornt_transform(standard, orientations.axcodes2ornt(tuple(mask.was)))
    turned = orientations.ornt_transform(orientations.axcodes2ornt(tuple(image.was)), standard)
    stored = orientations.apply_orientation(
        orientations.apply_orientation(mask.stored, as_stored), turned
    )
    return Volume(stored, mask.slope, mask.intercept, image.affine, image.was, mask.facts)


def _lost(image: Volume, mask: Volume) -> tuple[str, ...]:
    """Say whether labelled voxels lie outside of the image.

    Raises:
        ScanError: Where all do.
    """
    to = np.linalg.inv(image.affine) @ mask.affine
    total = outside = 0
    for k in range(mask.stored.shape[2]):
        at = np.argwhere(mask.stored[:, :, k] != 0)
        if len(at):
            place = at @ to[:3, :2].T + to[:3, 2] * k + to[:3, 3]
            nearest = np.floor(place + HALF + TIE)
            total += len(at)
            outside += int(((nearest < 0) | (nearest >= image.stored.shape)).any(1).sum())
    if total and outside == total:
        raise ScanError(
            "affine", "has a mask that lies outside of it; correct the header of one of them"
        )
    return (CUT,) if outside else ()
