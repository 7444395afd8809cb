"""Which part patients are in: said, kept, or filled by a hash, and never reshuffled."""

import json
import random
import shutil
from collections import Counter

import pytest

from tests.helpers.scans import nifti, pairs, phantom
from yolo_nas_ext.commands import data
from yolo_nas_ext.data.scans import sides
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import read

SHARES = {"test": 0.0, "val": 0.2}


def several(n, rng, kinds="abc"):
    return [set(rng.sample(kinds, rng.randint(0, len(kinds)))) for _ in range(n)]


def test_parts_of_random_data_sets():
    rng = random.Random(0)
    for seed in range(400):
        n = rng.randint(2, 40)
        patients = [f"p{rng.randint(0, max(1, n // 2))}" for _ in range(n)]
        classes = several(n, rng)
        said = [rng.choice(("", "", "train", "val", "test")) for _ in range(n)]
        shares = {"test": rng.choice((0.0, 0.2)), "val": rng.uniform(0.05, 0.6)}
        found = sides.assign(patients, classes, said, shares=shares, seed=seed)
        assert set(found) == set(patients) and set(found.values()) <= set(sides.SIDES)
        assert found == sides.assign(patients, classes, said, shares=shares, seed=seed)
        for patient, side in zip(patients, said, strict=True):
            assert not side or sides.SIDES.index(found[patient]) >= sides.SIDES.index(side)
        if len(found) > 2 and not any(said):
            counts = Counter(found.values())
            assert (
                counts["train"] and counts["val"] and bool(counts["test"]) == bool(shares["test"])
            )


def test_shares_are_of_the_number_of_patients():
    for n in (5, 10, 21):
        patients = [f"p{i}" for i in range(n)]
        found = sides.assign(patients, [{1}] * n, [""] * n, shares={"test": 0.2, "val": 0.2})
        counts = Counter(found.values())
        assert counts["test"] == counts["val"] == round(0.2 * n)


@pytest.mark.parametrize("n", [8, 40])
def test_one_more_patient_moves_hardly_anybody(n):
    """Reshuffled, 0.32 of all would move: 2 * 0.2 * 0.8."""
    rng = random.Random(1)
    moved = 0
    for repeat in range(100):
        patients = [f"{repeat}/{i}" for i in range(n)]
        classes = several(n, rng)
        before = sides.assign(patients, classes, [""] * n, shares=SHARES)
        more, theirs = [*patients, "new"], [*classes, *several(1, rng)]
        after = sides.assign(more, theirs, [""] * (n + 1), shares=SHARES)
        moved += sum(before[p] != after[p] for p in patients)
        kept = sides.assign(more, theirs, [""] * (n + 1), shares=SHARES, kept=before)
        assert all(kept[p] == before[p] for p in patients)
    assert moved / 100 < 1


def test_a_class_of_two_patients_is_on_both_sides():
    patients = [f"p{i}" for i in range(20)]
    classes = [{"rare", "common"} if i in (3, 4) else {"common"} for i in range(20)]
    for seed in range(20):
        found = sides.assign(patients, classes, [""] * 20, shares=SHARES, seed=seed)
        assert {found["p3"], found["p4"]} == {"train", "val"}


def test_folds_have_everybody_once_and_stay():
    patients = [f"p{i}" for i in range(23)]
    classes = [{"rare"} if i < 5 else {"common"} for i in range(23)]
    found = sides.folds(patients, classes, 5)
    assert sorted(Counter(found.values()).values()) == [4, 4, 5, 5, 5]
    assert {found[f"p{i}"] for i in range(5)} == set(range(5))
    more = sides.folds([*patients, "new"], [*classes, {"common"}], 5, kept=found)
    assert all(more[p] == found[p] for p in patients)
    with pytest.raises(NASError, match="there are 23 patients"):
        sides.folds(patients, classes, 24)


def cases(folder, names):
    for index, name in enumerate(names):
        image, mask = phantom(noise=index)
        nifti(folder / "images" / f"{name}.nii.gz", image)
        nifti(folder / "labels" / f"{name}.nii.gz", mask)
    return folder


def run(source, out, **keys):
    return data.main({"source": str(source), "out": str(out), **keys})


def record(out):
    return json.loads((out / "conversion.json").read_text())


def test_converting_again_into_a_folder_keeps_everybody(tmp_path, capsys):
    source, out = cases(tmp_path / "in", [f"case{i}" for i in range(8)]), tmp_path / "out"
    assert run(source, out) == 0
    before = record(out)["split"]
    (out / "notes.md").write_text("mine")
    assert oct((tmp_path / ".out.salt").stat().st_mode)[-3:] == "600"
    assert (tmp_path / ".out.salt").read_text().strip() not in (out / "conversion.json").read_text()
    cases(source, [f"case{i}" for i in range(8, 12)])
    capsys.readouterr()
    assert run(source, out, channels=3) == 0
    after = record(out)["split"]
    assert len(after) == 12 and before.items() <= after.items()
    assert "8 patients stay in their part, 4 are new, 0 are no longer" in capsys.readouterr().out
    assert (out / "notes.md").read_text() == "mine" and not (tmp_path / ".out.partial").exists()
    assert len(list((out / "images").rglob("*.png"))) == record(out)["counts"]["pictures"]
    assert Counter(after.values())["val"] == round(0.2 * 12)


def test_patients_of_before_have_to_be_known(tmp_path):
    source, out = cases(tmp_path / "in", ["case0", "case1"]), tmp_path / "out"
    assert run(source, out, salt="one") == 0
    assert not (tmp_path / ".out.salt").exists()
    with pytest.raises(NASError, match=r"\.out\.salt beside it.*give the salt= of before"):
        run(source, out)
    with pytest.raises(NASError, match="salt= is another than before"):
        run(source, out, salt="two")
    assert run(source, out, salt="one") == 0


def test_a_folder_that_was_removed_has_a_new_secret(tmp_path):
    source, out = cases(tmp_path / "in", ["case0", "case1"]), tmp_path / "out"
    assert run(source, out) == 0
    before, secret = record(out)["split"], (tmp_path / ".out.salt").read_text()
    shutil.rmtree(out)
    assert run(source, out) == 0
    assert not before.keys() & record(out)["split"].keys()
    assert (tmp_path / ".out.salt").read_text() != secret


def test_another_folder_has_the_same_split(tmp_path):
    """By the patient alone, whatever the salt."""
    source = cases(tmp_path / "in", [f"case{i}" for i in range(10)])
    parts = []
    for name in "ab":
        link = tmp_path / f"{name}.csv"
        assert run(source, tmp_path / name, linkage=str(link)) == 0
        rows = [line.split(",") for line in link.read_text().splitlines()[1:]]
        split = record(tmp_path / name)["split"]
        parts.append({scan: split[key.split("_")[0]] for scan, key in rows})
    assert parts[0] == parts[1] and set(parts[0].values()) == {"train", "val"}


def test_a_test_part_and_an_external_test_set(tmp_path, capsys):
    source = cases(tmp_path / "in", [f"case{i}" for i in range(10)])
    assert run(source, tmp_path / "a", test=0.3) == 0
    assert Counter(record(tmp_path / "a")["split"].values()) == {"train": 5, "val": 2, "test": 3}
    assert len(read(tmp_path / "a" / "data.yaml", part="test").images) >= 9
    capsys.readouterr()
    assert run(source, tmp_path / "b", test=1, val=0) == 0
    assert "0 in train, 0 in val, 10 in test" in (said := capsys.readouterr().out)
    assert "next:" not in said
    assert len(read(tmp_path / "b" / "data.yaml", part="test").images) >= 30
    with pytest.raises(NASError, match="no images"):
        read(tmp_path / "b" / "data.yaml")


@pytest.mark.parametrize("kind", ["names", "file"])
def test_a_list_of_who_is_in_a_part(kind, tmp_path):
    source, link = cases(tmp_path / "in", [f"case{i}" for i in range(6)]), tmp_path / "link.csv"
    wanted = "case1,images/case4.nii.gz"
    if kind == "file":
        (tmp_path / "who.txt").write_text(wanted.replace(",", "\n") + "\n\n")
        wanted = str(tmp_path / "who.txt")
    assert run(source, tmp_path / "out", test=wanted, linkage=str(link)) == 0
    split = record(tmp_path / "out")["split"]
    rows = [line.split(",") for line in link.read_text().splitlines()[1:]]
    test = {scan for scan, key in rows if split[key.split("_")[0]] == "test"}
    assert test == {"images/case1.nii.gz", "images/case4.nii.gz"}
    assert Counter(split.values())["val"] == 1
    with pytest.raises(NASError, match="test: 'case9' is no patient"):
        run(source, tmp_path / "x", test="case9")
    with pytest.raises(NASError, match="of a patient that is in val, too"):
        run(source, tmp_path / "x", val="case1", test="case1")
    assert not (tmp_path / "x").exists()


def test_folds_are_data_yamls_over_one_conversion(tmp_path):
    source, out = cases(tmp_path / "in", [f"case{i}" for i in range(7)]), tmp_path / "out"
    assert run(source, out, folds=3, test="case6") == 0
    found = record(out)
    assert len(found["folds"]) == 6 and "test" in found["split"].values()
    everybody = []
    for fold in range(3):
        parts = [read(out / f"data_fold{fold}.yaml", part=part) for part in ("train", "val")]
        who = [{f.rpartition("/")[2].split("_")[0] for f in part.images} for part in parts]
        assert len(who[0]) == 4 and len(who[1]) == 2 and not who[0] & who[1]
        assert all(found["folds"][p] == fold for p in who[1])
        slices = [s["slices"] for s in found["scans"].values() if s["patient"] in who[1]]
        assert len(parts[1].images) == sum(slices)  # every slice of who is measured
        assert len(parts[0].images) < 2 * len(parts[1].images)
        everybody += who[1]
    assert len(set(everybody)) == 6
    assert set(read(out / "data.yaml", part="val").images) == set(
        read(out / "data_fold0.yaml", part="val").images
    )
    before = found["folds"]
    cases(source, [f"case{i}" for i in range(7, 9)])
    assert run(source, out, folds=3, test="case6") == 0
    assert before.items() <= record(out)["folds"].items() and len(record(out)["folds"]) == 8
    with pytest.raises(NASError, match="folds=9: there are 8 patients"):
        run(source, tmp_path / "x", folds=9, test="case6")


@pytest.mark.parametrize(("key", "value"), [("val", 0.95), ("test", 1.2), ("folds", 1)])
def test_shares_that_cannot_be(key, value, tmp_path):
    pairs(tmp_path / "in", n=2)
    with pytest.raises(NASError, match=f"{key}={value}"):
        run(tmp_path / "in", tmp_path / "out", **{key: value})
