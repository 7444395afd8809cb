import pytest

from yolo_nas_ext.config.fields import checked, flag, whole
from yolo_nas_ext.console import aligned
from yolo_nas_ext.errors import NASError

KEYS = {"json": flag, "seed": whole(0)}


def test_what_is_not_given_is_as_usual():
    assert checked({"seed": 3}, KEYS, {"seed": 0, "json": False}) == {"seed": 3, "json": False}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sed": 1}, "sed=1: unknown key. Did you mean 'seed'"),
        ({"seed": -1}, "seed=-1: not allowed; seed takes a whole number"),
        ({"json": "yes"}, "json=yes: not allowed; json takes True or False"),
    ],
)
def test_bad_keys_are_one_clear_line(given, message):
    with pytest.raises(NASError, match=message) as caught:
        checked(given, KEYS, {})
    assert "\n" not in str(caught.value)


def test_a_table_is_aligned():
    assert aligned([["model", "AP"], ["a", "0.1000"]]) == "model      AP\na      0.1000"
