"""Headers of scans: voxels come from beside them and from nowhere else."""

import nrrd
import numpy as np
import pytest

from yolo_nas_ext.data.scans.reading import read
from yolo_nas_ext.data.scans.volumes import ScanError, Volume

VOXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def detached(folder, name, target, key="data file"):
    """Write a header whose voxels are in another file."""
    lines = ("NRRD0004", "type: uint8", "dimension: 3", "sizes: 2 3 4", "encoding: raw")
    (folder / name).write_text("\n".join([*lines, f"{key}: {target}", "", ""]))
    return folder / name


def test_detached_voxels_beside_their_header_are_read(tmp_path):
    nrrd.write(str(tmp_path / "a.nhdr"), VOXELS, detached_header=True)
    nrrd.write(str(tmp_path / "a.nrrd"), VOXELS)
    both = [read(tmp_path / name) for name in ("a.nhdr", "a.nrrd")]
    assert all(isinstance(scan, Volume) for scan in both)
    assert all(np.array_equal(both[0].plane(2, i), both[1].plane(2, i)) for i in range(4))
    (tmp_path / "linked").mkdir()  # as data under version control are
    for file in tmp_path.glob("a.*"):
        (tmp_path / "linked" / file.name).symlink_to(file)
    assert np.array_equal(read(tmp_path / "linked" / "a.nhdr").plane(2, 0), both[0].plane(2, 0))


@pytest.mark.parametrize("suffix", [".nhdr", ".nrrd"])
@pytest.mark.parametrize("key", ["data file", "datafile", "DATA FILE"])
@pytest.mark.parametrize(
    "target", ["{}/marker", "../marker", "sub/../../marker", "./link", "link", "sub/marker"]
)
def test_any_other_file_is_not_read(tmp_path, suffix, key, target):
    folder = tmp_path / "scans"
    (folder / "sub").mkdir(parents=True)
    for marker in (tmp_path / "marker", folder / "sub" / "marker"):
        marker.write_bytes(VOXELS.tobytes())
    (folder / "link").symlink_to(tmp_path / "marker")
    path = detached(folder, f"a{suffix}", target.format(tmp_path), key)
    with pytest.raises(ScanError, match=r"not beside it|cannot be read") as error:
        read(path)
    assert "\n" not in str(error.value)
