"""optuna-dashboard reads the record of a run; skipped where it is not installed."""

import io
import json

import pytest

from tests.helpers import fakes
from yolo_nas_ext.study.study import Study

dashboard = pytest.importorskip("optuna_dashboard")


def ask(app, path):
    """The JSON that the dashboard's server answers a GET with."""
    status = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
    }
    body = b"".join(app(environ, lambda code, headers, *_: status.append(code)))
    assert status[0].startswith("200"), (status, body)
    return json.loads(body)


@pytest.mark.filterwarnings("ignore")
def test_the_dashboard_reads_a_record(tmp_path):
    import optuna

    known = fakes.detectors(12)
    record = Study(known.space, tmp_path / "study.db")
    record.add(list(known.trials))
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    app = dashboard.wsgi(storage)
    (listed,) = ask(app, "/api/studies")["study_summaries"]
    detail = ask(app, f"/api/studies/{listed['study_id']}")
    assert len(detail["trials"]) == 12
    best = next(t for t in detail["trials"] if t["number"] == known.best.number)
    assert best["values"] == [known.best.fitness]
    shown = {p["name"]: p["param_external_value"] for p in best["params"]}
    assert len(shown) > 5  # choices that have no say in this network are left out
    assert shown == {name: str(known.best.point[name]) for name in shown}
