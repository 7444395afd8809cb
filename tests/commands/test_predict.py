import csv
import json
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy import ndimage

from tests.helpers.scans import SECRETS, nifti, series
from tests.helpers.seers import Seer
from yolo_nas_ext.commands import data, predict
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read

AXES = ("axial", "coronal", "sagittal")


def turned(degrees=20.0, spacing=(1.0, 1.2, 2.5), signs=(1, 1, 1), order=(0, 1, 2)):
    """Return an affine of oblique slices, its axes flipped and in another order."""
    a, b = np.deg2rad(degrees), np.deg2rad(degrees / 2)
    about_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    affine = np.eye(4)
    own = np.array(about_z) @ np.array(about_x) @ np.diag(signs)
    affine[:3, :3] = own[:, order] * spacing
    affine[:3, 3] = (-31.5, 17.25, 102.0)
    return affine


def blobs(shape=(24, 20, 14), seed=0, labels=2):
    """Return an image and labels of a few smooth pieces, none of them symmetric."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 2.5)
    mask = np.zeros(shape, np.uint8)
    for label in range(1, labels + 1):
        smooth = np.roll(smooth, 7, 0)
        mask[smooth > np.quantile(smooth, 0.93)] = label
    image = rng.integers(0, 60, shape).astype(np.int16)
    image[mask > 0] += 300
    return image, mask


def converted(tmp_path, *keys, affine=None, shape=(24, 20, 14), seed=0):
    """Write a scan with its mask and convert both; return folder and labels."""
    image, mask = blobs(shape, seed)
    affine = turned() if affine is None else affine
    nifti(tmp_path / "in/images/case.nii.gz", image, affine)
    nifti(tmp_path / "in/labels/case.nii.gz", mask, affine)
    given = {"task": "segment", "salt": "s", **dict(key.split("=") for key in keys)}
    given = {k: int(v) if v.isdecimal() else v for k, v in given.items()}
    data.main({"source": str(tmp_path / "in"), "out": str(tmp_path / "set"), **given})
    return mask


def run(tmp_path, monkeypatch, *, masks=None, task="segment", score=1.0, **keys):
    """Predict the scan with a model that sees its mask; return the exit code."""
    masks = masks or [tmp_path / "in/labels/case.nii.gz"]
    seer = Seer(tmp_path / "set", masks, task=task, score=score)
    monkeypatch.setattr(predict, "Trained", lambda *_: seer)
    model = tmp_path / "best.pt"
    model.write_bytes(b"weights")
    seer.path = model
    given = {"source": str(tmp_path / "in/images"), "out": str(tmp_path / "out"), **keys}
    given = {key: value for key, value in given.items() if value is not None}
    return predict.main({"model": str(model), "salt": "s", **given})


def table(tmp_path):
    with (tmp_path / "out/findings.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def mask_of(tmp_path, suffix):
    (file,) = (tmp_path / "out/masks").glob(f"*{suffix}")
    return file


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 1.0, 2.0, 1.0]),
        turned(),
        turned(35, signs=(-1, 1, -1)),
        turned(15, order=(2, 0, 1), signs=(1, -1, 1)),
    ],
    ids=("straight", "oblique", "flipped", "permuted"),
)
def test_labels_come_back_where_they_were(axis, affine, tmp_path, monkeypatch):
    mask = converted(tmp_path, f"axis={axis}", affine=affine)
    assert run(tmp_path, monkeypatch) == 0
    file = mask_of(tmp_path, ".nii.gz")
    found, scan = nib.load(file), nib.load(tmp_path / "in/images/case.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj), mask)
    np.testing.assert_array_equal(found.affine, scan.affine)
    mine, other = (sitk.ReadImage(str(f)) for f in (file, tmp_path / "in/images/case.nii.gz"))
    assert mine.GetSize() == other.GetSize() and mine.GetOrigin() == other.GetOrigin()
    assert mine.GetDirection() == other.GetDirection() and mine.GetSpacing() == other.GetSpacing()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mine).T, mask)


@pytest.mark.parametrize(
    ("keys", "side"), [(("tile=32", "overlap=0.25"), 32), (("window=40/400,100/200",), 60)]
)
def test_tiles_and_windows_come_back(keys, side, tmp_path, monkeypatch):
    mask = converted(tmp_path, *keys, "axis=axial", shape=(70, 60, 4))
    seen = []
    wrapped = predict.predict_scan

    def watched(*given):
        record = wrapped(*given)
        seen.extend(given[4].model.sizes)
        return record

    monkeypatch.setattr(predict, "predict_scan", watched)
    assert run(tmp_path, monkeypatch) == 0
    np.testing.assert_array_equal(np.asarray(nib.load(mask_of(tmp_path, ".nii.gz")).dataobj), mask)
    assert {size[0] for size in seen} == {side}
    assert len(seen) == (4 * 9 if side == 32 else 4)
    assert all(len(size) == 2 for size in seen) == (side == 32)


def test_contrasts_come_back(tmp_path, monkeypatch):
    image, mask = blobs()
    for name in ("flair", "t1ce"):
        nifti(tmp_path / f"in/images/case_{name}.nii.gz", image, turned())
    nifti(tmp_path / "in/labels/case.nii.gz", mask, turned())
    given = {"source": str(tmp_path / "in"), "out": str(tmp_path / "set"), "task": "segment"}
    data.main({**given, "contrasts": "t1ce,flair"})
    assert run(tmp_path, monkeypatch) == 0
    np.testing.assert_array_equal(np.asarray(nib.load(mask_of(tmp_path, ".nii.gz")).dataobj), mask)


@pytest.mark.realdata
@pytest.mark.parametrize("spacing", ("native", 1.25))
@pytest.mark.parametrize("axis", AXES)
def test_hippocampi_come_back(axis, spacing, shared_data, tmp_path, monkeypatch):
    files = sorted((shared_data / "msd_hippocampus/labels").glob("*.nii.gz"))[:2]
    for folder in ("images", "labels"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        for file in files:
            shutil.copy(file.parents[1] / folder / file.name, tmp_path / "in" / folder)
    given = {"source": str(tmp_path / "in"), "out": str(tmp_path / "set"), "axis": axis}
    data.main(
        {**given, "spacing": spacing, "task": "segment", "names": {1: "anterior", 2: "posterior"}}
    )
    linkage = tmp_path / "linkage.csv"
    masks = [tmp_path / "in/labels" / file.name for file in files]
    assert run(tmp_path, monkeypatch, masks=masks, linkage=str(linkage)) == 0
    with linkage.open(newline="") as file:
        keys = {row["scan"]: row["pseudonym"] for row in csv.DictReader(file)}
    for mask in masks:
        found = nib.load(tmp_path / "out/masks" / f"{keys[mask.name]}.nii.gz")
        other = nib.load(mask)
        np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(other.dataobj))
        np.testing.assert_array_equal(found.affine, other.affine)


@pytest.mark.parametrize("kind", ("nrrd", "mha"))
def test_formats_of_itk_lie_on_the_scan(kind, tmp_path, monkeypatch):
    mask = converted(tmp_path, affine=turned(35, signs=(-1, 1, -1)))
    assert run(tmp_path, monkeypatch, format=kind) == 0
    found = sitk.ReadImage(str(mask_of(tmp_path, kind)))
    scan = sitk.ReadImage(str(tmp_path / "in/images/case.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found).T, mask)
    for name in ("GetOrigin", "GetDirection", "GetSpacing"):
        np.testing.assert_allclose(getattr(found, name)(), getattr(scan, name)(), atol=1e-4)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    "keys",
    (("spacing=iso",), ("channels=3",), ("spacing=0.8", "channels=3"), ("spacing=1.45",)),
    ids="/".join,
)
def test_labels_come_back_from_another_spacing(axis, keys, tmp_path, monkeypatch):
    mask = converted(tmp_path, f"axis={axis}", *keys, affine=turned(spacing=(1.0, 1.2, 1.1)))
    assert run(tmp_path, monkeypatch) == 0
    found = np.asarray(nib.load(mask_of(tmp_path, ".nii.gz")).dataobj)
    np.testing.assert_array_equal(found, mask)


def test_findings_are_measured_in_the_patients_space(tmp_path, monkeypatch):
    affine = turned(25)
    image, _ = blobs()
    mask = np.zeros(image.shape, np.uint8)
    mask[4:10, 5:8, 3:9] = 1
    mask[16:20, 10:19, 12] = 2
    nifti(tmp_path / "in/images/case.nii.gz", image, affine)
    nifti(tmp_path / "in/labels/case.nii.gz", mask, affine)
    data.main({"source": str(tmp_path / "in"), "out": str(tmp_path / "set"), "task": "segment"})
    assert run(tmp_path, monkeypatch) == 0
    first, second, patient = sorted(table(tmp_path), key=lambda row: (row["row"], row["class"]))
    for row, label, n in ((first, 1, 108), (second, 2, 36)):
        stats = sitk.LabelShapeStatisticsImageFilter()
        stats.ComputeFeretDiameterOn()
        stats.Execute(sitk.ReadImage(str(mask_of(tmp_path, ".nii.gz"))))
        centre = [float(row[f"centre_{way}_mm"]) for way in "lps"]
        np.testing.assert_allclose(centre, stats.GetCentroid(label), rtol=1e-3)
        volume = float(row["volume_ml"])
        assert volume == pytest.approx(stats.GetPhysicalSize(label) / 1000, rel=1e-3)
        assert volume == pytest.approx(n * 3 / 1000, rel=1e-3)
        corners = (
            np.array(list(np.ndindex(2, 2, 2)))
            * ((6, 3, 6) if label == 1 else (4, 9, 1))
            @ affine[:3, :3].T
        )
        longest = max(np.linalg.norm(a - b) for a in corners for b in corners)
        assert float(row["longest_mm"]) == pytest.approx(longest, rel=1e-3)
        extent = [float(row[f"extent_{way}_mm"]) for way in "lps"]
        np.testing.assert_allclose(extent, np.ptp(corners, axis=0), rtol=1e-3)
        assert longest >= stats.GetFeretDiameter(label) - 1e-6  # of the voxels' centres
    assert (first["slices"], first["first_slice"], first["last_slice"]) == ("6", "3", "8")
    assert [first[f"size_{way}"] for way in "ijk"] == ["6", "3", "6"]
    assert [float(second[way]) for way in "ijk"] == [17.5, 14, 12]
    assert (patient["row"], patient["finding"]) == ("patient", "2")
    assert float(patient["volume_ml"]) == pytest.approx(144 * 3 / 1000, rel=1e-3)


def test_masks_and_findings_of_a_dicom_series(tmp_path, monkeypatch):
    pytest.importorskip("highdicom")
    image, mask = blobs((14, 20, 24))  # slices, rows, columns
    files = series(
        tmp_path / "in/images/case",
        image,
        cosines=(0.8, 0.6, 0, -0.6, 0.8, 0),
        FrameOfReferenceUID="1.2.3",
    )
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(f) for f in files])
    truth = sitk.GetImageFromArray(mask)
    truth.CopyInformation(reader.Execute())
    (tmp_path / "in/labels").mkdir()
    sitk.WriteImage(truth, str(tmp_path / "in/labels/case.nii.gz"))
    data.main(
        {
            "source": str(tmp_path / "in/images"), "masks": str(tmp_path / "in/labels"),
            "out": str(tmp_path / "set"), "task": "segment", "names": {1: "cyst", 2: "tumour"},
        }
    )  # fmt: skip
    assert run(tmp_path, monkeypatch) == 0
    found = sitk.ReadImage(str(mask_of(tmp_path, ".nii.gz")))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), mask)
    np.testing.assert_allclose(found.GetOrigin(), truth.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(found.GetDirection(), truth.GetDirection(), atol=1e-6)

    import highdicom

    seg = highdicom.seg.segread(mask_of(tmp_path, ".seg.dcm"))
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["cyst", "tumour"]
    uids = [pydicom.dcmread(f).SOPInstanceUID for f in files]
    planes = seg.get_pixels_by_source_instance(
        uids, combine_segments=True, skip_overlap_checks=True
    )
    np.testing.assert_array_equal(planes, mask)
    written = b"".join(f.read_bytes() for f in (tmp_path / "out").rglob("*") if f.is_file())
    for secret in (*SECRETS.values(), "case"):
        assert secret.encode() not in written, secret


def test_boxes_are_findings_without_a_volume(tmp_path, monkeypatch):
    converted(tmp_path)
    assert run(tmp_path, monkeypatch, task="detect", score=0.5) == 0
    rows = [row for row in table(tmp_path) if row["row"] == "finding"]
    assert rows and {row["volume_ml"] for row in rows} == {""}
    assert {row["score"] for row in rows} == {"0.5"}


def test_a_scan_that_cannot_be_read_is_named_and_the_others_are_predicted(
    tmp_path, monkeypatch, capsys
):
    converted(tmp_path)
    (tmp_path / "in/images/zz_broken.nii.gz").write_bytes(b"no scan")
    linkage = tmp_path / "linkage.csv"
    assert run(tmp_path, monkeypatch, linkage=str(linkage)) == 3
    said = capsys.readouterr().out
    assert "skipped: zz_broken.nii.gz" in said and "1 of 2 scans were skipped" in said
    assert len(list((tmp_path / "out/masks").iterdir())) == 1
    assert linkage.read_text().startswith("scan,pseudonym\n") and "case.nii.gz,p" in (
        linkage.read_text()
    )
    kept = json.loads((tmp_path / "out/predictions.json").read_text())
    assert kept["skipped"] == 1 and kept["recipe"]["classes"] == [[1, "label_1"], [2, "label_2"]]
    written = [f for f in (tmp_path / "out").rglob("*")]
    assert not any(
        "case" in f.name or b"case.nii" in f.read_bytes() for f in written if f.is_file()
    )


def test_an_interrupted_prediction_goes_on(tmp_path, monkeypatch, capsys):
    converted(tmp_path)
    image, mask = blobs(seed=1)
    nifti(tmp_path / "in/images/later.nii.gz", image, turned())
    nifti(tmp_path / "in/labels/later.nii.gz", mask, turned())
    masks = [tmp_path / f"in/labels/{name}.nii.gz" for name in ("case", "later")]
    usual = predict.predict_scan

    def interrupted(entry, *args):
        if "later" in entry.name:
            raise KeyboardInterrupt
        return usual(entry, *args)

    monkeypatch.setattr(predict, "predict_scan", interrupted)
    assert run(tmp_path, monkeypatch, masks=masks) == 3
    assert "1 scans are done" in capsys.readouterr().out and not (tmp_path / "out").exists()

    def others(entry, *args):
        assert "later" in entry.name  # the first one is done
        return usual(entry, *args)

    monkeypatch.setattr(predict, "predict_scan", others)
    assert run(tmp_path, monkeypatch, masks=masks[1:]) == 0
    assert len(list((tmp_path / "out/masks").iterdir())) == 2
    assert len([row for row in table(tmp_path) if row["row"] == "patient"]) == 2
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"data": "nowhere"}, "data=nowhere: has no conversion.json"),
        ({"linkage": "best.pt"}, "exists; give the name of a new file"),
    ],
)
def test_what_cannot_be(keys, said, tmp_path, monkeypatch):
    converted(tmp_path)
    (tmp_path / "best.pt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NASError, match=said):
        run(tmp_path, monkeypatch, **keys)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning")  # MONAI's of any bundle
def test_a_bundle_of_monai_predicts(tmp_path, monkeypatch, capsys):
    from monai.bundle import run as run_bundle

    mask = converted(tmp_path)
    assert run(tmp_path, monkeypatch, source=None, out=None, bundle=str(tmp_path / "bundle")) == 0
    assert "monai.bundle run" in capsys.readouterr().out
    meta = json.loads((tmp_path / "bundle/configs/metadata.json").read_text())
    assert meta["network_data_format"]["outputs"]["pred"]["channel_def"]["1"] == "label_1"
    assert (tmp_path / "bundle/models/model.pt").read_bytes() == b"weights"
    seer = Seer(tmp_path / "set", [tmp_path / "in/labels/case.nii.gz"])
    seer.path = tmp_path / "best.pt"
    monkeypatch.setattr(predict, "Trained", lambda *_: seer)
    run_bundle(
        config_file=str(tmp_path / "bundle/configs/inference.json"),
        meta_file=str(tmp_path / "bundle/configs/metadata.json"),
        logging_file=False,
        bundle_root=str(tmp_path / "bundle"),
        dataset_dir=str(tmp_path / "in/images"),
        output_dir=str(tmp_path / "out"),
    )
    found = np.asarray(nib.load(mask_of(tmp_path, ".nii.gz")).dataobj)
    np.testing.assert_array_equal(found, mask)
    with pytest.raises(NASError, match="exists"):
        run(tmp_path, monkeypatch, source=None, out=None, bundle=str(tmp_path / "bundle"))


@pytest.mark.slow
def test_a_bundle_starts_in_a_process_of_its_own(tmp_path, monkeypatch):
    """Where nothing has imported the command before; it ends at the weights, which are none."""
    converted(tmp_path, "window=40/400,100/200")
    bundle = tmp_path / "bundle"
    assert run(tmp_path, monkeypatch, source=None, out=None, bundle=str(bundle)) == 0
    meta = json.loads((bundle / "configs/metadata.json").read_text())
    assert meta["network_data_format"]["inputs"]["image"]["num_channels"] == 3
    keys = {"config_file": str(bundle / "configs/inference.json"), "bundle_root": str(bundle)}
    code = f"from monai.bundle import run; run(**{keys!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "NASError" in done.stderr and "models/model.pt" in done.stderr, done.stderr[-2000:]


def test_a_checkpoint_knows_how_scans_are_read(tmp_path, capsys):
    """A training writes it, and a prediction needs nothing else."""
    converted(tmp_path, "axis=coronal", "channels=3")
    image, mask = blobs(seed=1)
    nifti(tmp_path / "in/images/case2.nii.gz", image, turned())
    nifti(tmp_path / "in/labels/case2.nii.gz", mask, turned())
    keys = {"source": str(tmp_path / "in"), "out": str(tmp_path / "two"), "task": "segment"}
    data.main({**keys, "axis": "coronal", "channels": 3, "names": {1: "cyst", 2: "tumour"}})
    training = ShortTraining(
        read(tmp_path / "two/data.yaml", "segment"),
        epochs=1, imgsz=32, batch=8, threads=1, task="segment", fitness="dice",
    )  # fmt: skip
    metrics = training.estimate("yolo11n-seg", weights=tmp_path / "best.pt")
    shutil.rmtree(tmp_path / "two")
    given = {"model": str(tmp_path / "best.pt"), "source": str(tmp_path / "in/images/case.nii.gz")}
    assert predict.main({**given, "out": str(tmp_path / "out"), "conf": 0.001}) == 0
    kept = json.loads((tmp_path / "out/predictions.json").read_text())
    cut = kept["recipe"]["options"]["cut"]
    assert (cut["axis"], cut["channels"], kept["imgsz"]) == (1, 3, 32)
    assert kept["recipe"]["classes"] == [[1, "cyst"], [2, "tumour"]]
    assert nib.load(mask_of(tmp_path, ".nii.gz")).shape == (24, 20, 14)
    capsys.readouterr()
    assert predict.main({**given, "out": str(tmp_path / "again")}) == 0
    said = capsys.readouterr().out
    assert f"score of {metrics['dice_threshold']:g} or more counts, what was best on its" in said


def test_help_is_printed_without_loading_torch():
    code = "import sys; from yolo_nas_ext.cli import main; main(['predict', 'help']); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "findings.csv" in done.stdout and done.stdout.endswith("False\n")
