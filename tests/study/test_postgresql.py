"""A PostgreSQL server that asks for a password, and rows in it that somebody else wrote."""

import json
import os
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, text

from tests.helpers.postgresql import server
from tests.helpers.shapes import draw
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

PASSWORD = "hunter two/@:?&%"
WRITTEN = "hunter%20two%2F%40%3A%3F%26%25"  # as it stands in a URL
QUICK = ["estimator=resolved", "strategy=random", "confirm=0", "imgsz=64", "baseline=none"]
SPACE = ChoiceSpace({"a": (0, 1, 2)})
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def url():
    with server(PASSWORD) as found:
        yield found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


def command(*keys, password=None):
    """Start a search; PGPASSWORD holds a password, or no way to find one."""
    env = {**os.environ, "PGPASSFILE": f"{os.devnull}/none"}
    env.pop("PGPASSWORD", None)
    env |= {"PGPASSWORD": password} if password else {}
    return subprocess.Popen(
        [sys.executable, "-m", "yolo_nas_ext", "search", *keys],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    out, err = process.communicate(timeout=300)
    for secret in ("hunter", "two%2F", "two/@"):
        assert secret not in out + err
    return process.returncode, out, err


def with_password(url, password=WRITTEN):
    return url.replace("nas@", f"nas:{password}@")


def test_workers_started_together_with_a_password_that_nothing_writes(url, data, tmp_path):
    given = [f"data={data}", f"project={tmp_path}", "trials=6", *QUICK]
    ways = [
        command(*given, f"storage={with_password(url)}", "name=a"),
        command(*given, f"storage={url}", "name=b", password=PASSWORD),
        command(*given, f"storage={url}?password={WRITTEN}", "name=c"),
    ]
    for code, out, err in map(ended, ways):
        assert code == 0, out + err
    for file in tmp_path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert b"hunter" not in content and b"two%2F" not in content, file
    # A run resumes with the password from its server's own ways, or with the URL given again.
    for more, password in (([], PASSWORD), ([f"storage={with_password(url)}"], None)):
        resumed = command(f"resume={tmp_path / 'a'}", *more, password=password)
        code, out, err = ended(resumed)
        assert code == 0, out + err
    code, _, err = ended(command(f"resume={tmp_path / 'a'}"))
    assert code == 2 and len(err.splitlines()) == 1 and "check user and password" in err


@pytest.mark.parametrize("way", ["url", "environment", "query"])
def test_a_wrong_password_is_one_line_without_it(url, data, tmp_path, way):
    wrong = "hunter three"
    address = {
        "url": with_password(url, "hunter%20three"),
        "environment": url,
        "query": f"{url}?password=hunter%20three",
    }[way]
    given = [f"data={data}", f"project={tmp_path}", "trials=2", *QUICK, f"storage={address}"]
    process = command(*given, password=wrong if way == "environment" else None)
    code, _, err = ended(process)
    assert code == 2 and len(err.splitlines()) == 1
    assert "check user and password" in err and not list(tmp_path.rglob("args.yaml"))


HOSTILE = {
    "error": ["x"],
    "metrics": {"fitness": "__import__('os').system('touch marker')"},
    "architecture": {"key": "../../../marker"},
    "seconds": [1],
}


@pytest.mark.parametrize("key", HOSTILE)
def test_rows_that_somebody_else_wrote_are_refused_by_their_trial(url, key, monkeypatch):
    from yolo_nas_ext.errors import NASError

    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE hostile_{key}"))
    address = f"{url.rpartition('/')[0]}/hostile_{key}"
    study = Study(SPACE, address)
    claim = study.start(Trial(0, SPACE.point({"a": 1})))
    study.finish(Trial(claim.number, claim.point, state="complete", metrics={"fitness": 0.5}))
    with create_engine(address).begin() as connection:
        connection.execute(text("DELETE FROM trial_user_attributes WHERE key = :key"), {"key": key})
        connection.execute(
            text(
                "INSERT INTO trial_user_attributes (trial_id, key, value_json) "
                "SELECT trial_id, :key, :value FROM trials"
            ),
            {"key": key, "value": json.dumps(HOSTILE[key])},
        )
    with pytest.raises(NASError) as refused:
        Study(SPACE, address)
    said = str(refused.value)
    assert "trial" in said and "\n" not in said and "hunter" not in said
