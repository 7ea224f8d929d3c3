"""A job's texts in the journal are small, come back as they were, and can be read for ever."""

import zlib

import pytest

from spotbatch.local.engine import packing
from spotbatch.local.engine.packing import JobTexts, pack, unpack

CHECKSUM = 2930555354
TEXTS = JobTexts(rules='{"job_no":1}', container='{"image":"ü"}', described='{"jobName":"a\\n\\"b"}')


def test_texts_come_back_as_they_were() -> None:
    assert unpack(pack(TEXTS)) == TEXTS


def test_a_dictionary_that_journals_were_written_with_is_never_changed() -> None:
    assert {number: zlib.crc32(text) for number, text in packing._DICTIONARIES.items()} == {1: CHECKSUM}


@pytest.mark.parametrize("blob", [b"", b"\x00abc", b"\x01", b"\x01abcdefgh", pack(TEXTS)[:-3]])
def test_what_is_no_such_blob_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r"job's texts|Expecting|Unterminated"):
        unpack(blob)
