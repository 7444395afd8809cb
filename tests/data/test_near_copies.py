"""Pictures that were saved again are known by how they look, and no others are."""

import io

import pytest
from PIL import Image

from tests.helpers.shapes import picture
from yolo_nas_ext.data.near_copies import PART, firsts, look


def again(image, kind="JPEG", **options):
    """The same picture as it comes out of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file)


@pytest.mark.parametrize(
    "saved",
    [
        lambda image: again(image, quality=95),
        lambda image: again(image, quality=30),
        lambda image: again(again(image, quality=60), quality=80),
        lambda image: again(image, "WEBP", quality=50),
        lambda image: again(image.resize((120, 90)), quality=80),
        lambda image: again(image.transpose(Image.Transpose.ROTATE_90), exif=turned()),
    ],
)
def test_a_picture_that_was_saved_again_is_of_its_first(saved):
    looks = [look(picture(seed)) for seed in range(9)]
    again = look(saved(picture(4)))
    assert firsts([*looks, again]) == [*range(9), 4]
    assert firsts([again, *looks]) == [0, 1, 2, 3, 4, 0, 6, 7, 8, 9]


def turned():
    exif = Image.Exif()
    exif[274] = 6
    return exif


def test_others_are_not():
    assert firsts([look(picture(seed)) for seed in range(60)]) == list(range(60))
    with_object = picture(0)
    with_object.paste((250, 250, 250), (100, 80, 130, 110))
    assert firsts([look(picture(0)), look(with_object)]) == [0, 1]


def test_what_shows_too_little_is_of_no_other():
    dark = [Image.new("L", (64, 64), value) for value in (0, 0, 1)]
    assert {look(image) for image in dark} == {b""} and firsts([b""] * 3) == [0, 1, 2]
    assert firsts([]) == []


def test_frames_that_all_look_alike_are_left_as_they_are():
    one = look(picture(1))
    others = [look(picture(seed)) for seed in range(2, 20)]
    few = int(PART * len(others))
    assert len(set(firsts([*others, *[one] * few]))) == len(others) + 1
    assert firsts([*others, *[one] * 30]) == list(range(len(others) + 30))
