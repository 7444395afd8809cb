"""Pseudonyms, and what of a DICOM header is let through.

Nothing of a source is copied but voxels and geometry: a short list of what is kept is safer than a
long one of what has to go. The reference for what has to go is the basic profile of DICOM PS3.15,
annex E; none of its attributes is in `KEPT`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import Any

# Attributes whose values decide what is written: geometry and the meaning of stored numbers.
KEPT = frozenset(
    "Rows Columns PixelSpacing ImagePositionPatient ImageOrientationPatient RescaleSlope "
    "RescaleIntercept PhotometricInterpretation SamplesPerPixel BitsAllocated BitsStored HighBit "
    "PixelRepresentation PixelData NumberOfFrames".split()
)
BURNED_IN = frozenset({"US", "XA", "SC", "OT", "ES", "XC"})
"""Modalities whose pictures often show a name, where `BurnedInAnnotation` says nothing."""


def new_salt() -> str:
    """Return a secret that nobody can guess."""
    return secrets.token_hex(16)


def pseudonym(identity: str, salt: str, *, size: int = 5) -> str:
    """Return a keyed hash (BLAKE2) of an identity.

    Args:
        identity: What must not be found out, for example a patient's number or a file's name.
        salt: A secret; without it, hashing every possible number finds the patient.
        size: Bytes of the hash; twice as many hexadecimal digits are returned.
    """
    key = hashlib.sha256(salt.encode()).digest()
    return hashlib.blake2b(
        identity.encode("utf-8", "surrogatepass"), key=key, digest_size=size
    ).hexdigest()


def removed(headers: Iterable[Any]) -> tuple[tuple[str, ...], int]:
    """Return the names of the public attributes that are left out, and the number of private ones.

    Args:
        headers: Headers as `pydicom` reads them, with their file meta information.
    """
    names: set[str] = set()
    private = 0
    for header in headers:
        for element in (*getattr(header, "file_meta", ()), *header.iterall()):
            if element.tag.is_private:
                private += 1
            elif element.keyword and element.keyword not in KEPT:
                names.add(element.keyword)
    return tuple(sorted(names)), private


def may_show_text(header: Any) -> bool:
    """Say whether a DICOM picture may have text such as a name in its pixels."""
    said = str(header.get("BurnedInAnnotation", "")).upper()
    return said == "YES" or (said != "NO" and str(header.get("Modality", "")) in BURNED_IN)
