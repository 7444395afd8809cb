import json

import pytest

from tests.data.scans.test_channels import visits
from tests.helpers.scans import nifti, pairs, phantom
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import pairing, recipe
from yolo_nas_ext.errors import NASError


def convert(source, out, **keys):
    given = {"source": str(source), "out": str(out), "task": "segment", "jobs": 1, **keys}
    return data.main(given)


def listed(folder, names, **more):
    """Write a datalist of two patients whose images are these, of each patient's number."""
    source, mask = visits(folder)
    items = []
    for who in (1, 2):
        nifti(source / f"m{who}.nii.gz", mask)
        items.append({"image": [name.format(who) for name in names], "label": f"m{who}.nii.gz"})
    file = source / "list.json"
    file.write_text(json.dumps({"training": items, **more}))
    return file


def channels_of(folder):
    found = recipe.beside(folder)
    assert found
    return found.options.contrasts


def test_channels_of_a_list_are_those_of_folders_later(tmp_path):
    file = listed(tmp_path / "in", ("P{0}/P{0}_t1.nii.gz", "P{0}/P{0}_flair.nii.gz"))
    assert convert(file, tmp_path / "set") == 0
    contrasts = channels_of(tmp_path / "set")
    assert contrasts == ("t1", "flair")
    # What is predicted later comes as a folder, or as a list in another order.
    found = pairing.find(str(tmp_path / "in"), contrasts=contrasts)
    for entry in found.entries:
        ends = [str(source).rpartition("_")[2] for source, _ in entry.contrasts]
        assert ends == ["t1.nii.gz", "flair.nii.gz"]
    other = listed(tmp_path / "in", ("P{0}/P{0}_flair.nii.gz", "P{0}/P{0}_t1.nii.gz"))
    assert pairing.find(str(other), contrasts=contrasts).entries[0].contrasts == (
        found.entries[0].contrasts
    )


def test_channels_without_names_are_of_lists_alone(tmp_path, capsys):
    file = listed(tmp_path / "in", ("P{0}/P{0}_t1.nii.gz", "P{0}/P{0}_flair.nii.gz"))
    content = json.loads(file.read_text())
    content["training"][1]["image"].reverse()
    file.write_text(json.dumps(content))
    assert convert(file, tmp_path / "set") == 0
    assert "do not say which is which" in capsys.readouterr().out
    contrasts = channels_of(tmp_path / "set")
    assert contrasts == ("channel 0", "channel 1")
    assert len(pairing.find(str(file), contrasts=contrasts).entries) == 2
    found = pairing.find(str(tmp_path / "in"), contrasts=contrasts)
    assert not found.entries and "has no contrast channel 0" in found.bad[0][1]
    content["training"][1]["image"] = content["training"][1]["image"][0]
    file.write_text(json.dumps(content))
    assert "is no image of the channels" in pairing.find(str(file), contrasts=contrasts).bad[0][1]
    with pytest.raises(NASError, match="channels=3"):
        convert(file, tmp_path / "other", channels=3)


@pytest.mark.parametrize("keys", ({"test": 0.2}, {"test": 0.2, "folds": 3}), ids=("parts", "folds"))
def test_a_list_that_is_written_gives_the_same_parts(keys, tmp_path):
    pairs(tmp_path / "in", n=8)
    file = tmp_path / "list.json"
    assert convert(tmp_path / "in", tmp_path / "set", datalist=str(file), salt="s", **keys) == 0
    content = json.loads(file.read_text())
    assert content["labels"] == {"0": "background", "1": "label_1"}
    assert file.stat().st_mode & 0o077 == 0
    split = json.loads((tmp_path / "set/conversion.json").read_text())
    found = {entry.name.rpartition("/")[2]: entry.side for entry in pairing.find(str(file)).entries}
    assert len(found) == 8 and len({*found.values()}) == 3
    if "folds" in keys:
        folds = [item["fold"] for item in content["training"]]
        assert sorted(folds) == sorted(split["folds"].values())
        assert [*found.values()].count("val") == folds.count(0)
    else:
        assert sorted(found.values()) == sorted(split["split"].values())
    with pytest.raises(NASError, match=r"datalist=.*exists"):
        convert(tmp_path / "in", tmp_path / "other", datalist=str(file))


def test_structures_of_a_list_keep_their_names(tmp_path, capsys):
    """One file a structure, and the first patient has no liver."""
    image, mask = phantom()
    for who in range(4):
        nifti(tmp_path / f"in/case{who}/ct.nii.gz", image)
        for name in ("spleen", "liver")[: 1 if who == 0 else 2]:
            nifti(tmp_path / f"in/case{who}/segmentations/{name}.nii.gz", mask)
    file = tmp_path / "list.json"
    keys = {"names": {1: "liver", 2: "spleen"}, "salt": "s"}
    assert convert(tmp_path / "in", tmp_path / "set", datalist=str(file), **keys) == 0
    found = pairing.find(str(file))
    assert found.names == {1: "liver", 2: "spleen"} and found.structures
    assert sorted(entry.labels for entry in found.entries) == [(1, 2), (1, 2), (1, 2), (2,)]
    assert convert(file, tmp_path / "again", **keys) == 0
    counts = [line for line in capsys.readouterr().out.splitlines() if line.startswith("objects")]
    assert counts[0] == counts[1] and "liver" in counts[0]
