"""Passwords are in no message and in no file."""

import pickle

import pytest

from yolo_nas_ext.errors import NASError, TrialError, masked, without_password

URLS = {
    "postgresql://u:geheim@h/db": "postgresql://u@h/db",
    "postgresql://u:gehe@im@h/db": "postgresql://u@h/db",
    "postgresql://h/db?user=u&password=geheim": "postgresql://h/db?user=u",
    "postgresql://h/db?password=geheim&user=u": "postgresql://h/db?user=u",
    "postgresql://h/db?password=geheim?x": "postgresql://h/db",
    "mysql+pymysql://u:geh%65im@h:1/db?ssl=1": "mysql+pymysql://u@h:1/db?ssl=1",
    "sqlite+pysqlcipher://:geheim@/f.db": "sqlite+pysqlcipher://@/f.db",
    "mssql+pyodbc:///?odbc_connect=UID%3Du%3BPWD%3Dgeheim": "mssql+pyodbc:///",
    "https://u:geheim@h/data.zip?access_key=geheim": "https://u@h/data.zip",
}


@pytest.mark.parametrize("url", URLS)
def test_a_password_is_masked_in_messages_and_left_out_of_files(url):
    line = str(NASError(f"storge={url}: unknown key"))
    for text in (line, without_password(url), masked(url)):
        assert not any(secret in text for secret in ("geheim", "gehe@im", "geh%65im", "?x"))
    assert line.endswith(": unknown key") and "***" in line
    assert without_password(url) == URLS[url]


@pytest.mark.parametrize("text", ["sqlite:///a.db", "sqlite:////a:b@c.db", "a", "u@h", "?pwd"])
def test_what_has_none_stays(text):
    assert masked(text) == without_password(text) == text


def test_what_a_server_says_of_a_password_is_masked():
    said = "no entry for 'p@ss' in password=p@ss host=h"
    assert masked(said, "mysql://u:p%40ss@h/db") == "no entry for '***' in password=*** host=h"


def test_an_error_of_a_trial_has_a_kind_or_is_just_one():
    for error, kind in (
        (TrialError("no levels"), "error"),
        (TrialError("nan", "no levels"), "nan"),
    ):
        for same in (error, pickle.loads(pickle.dumps(error))):
            assert (same.kind, str(same)) == (kind, "no levels")
