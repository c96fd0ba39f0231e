"""The file of `formats/FORMAT.md`, section 6, byte for byte. The data bytes are worked out there by hand."""

import re
from pathlib import Path

import numpy as np
import pytest

from crispsim.formats import packed_file
from crispsim.formats.crisp import CrispMatrix
from crispsim.formats.packed_file import PackedLayer, PackedModel, read_model, write_model

pytestmark = pytest.mark.kernel

LENGTH = "e0 02 00 00 00 00 00 00"

HEADER = """
7b 22 5f 5f 6d 65 74 61 64 61 74 61 5f 5f 22 3a 7b 22 66 6f 72 6d 61 74 22 3a 22 63 72 69 73 70
73 69 6d 22 2c 22 76 65 72 73 69 6f 6e 22 3a 22 31 22 2c 22 62 69 74 5f 6f 72 64 65 72 22 3a 22
6c 69 74 74 6c 65 22 2c 22 6c 61 79 65 72 73 22 3a 22 5b 7b 5c 22 6e 61 6d 65 5c 22 3a 5c 22 63
5c 22 2c 5c 22 6b 69 6e 64 5c 22 3a 5c 22 63 6f 6e 76 5c 22 2c 5c 22 6e 5c 22 3a 32 2c 5c 22 6d
5c 22 3a 34 2c 5c 22 62 6c 6f 63 6b 5c 22 3a 34 2c 5c 22 73 68 61 70 65 5c 22 3a 5b 34 2c 38 5d
2c 5c 22 6b 5f 6f 72 64 65 72 5c 22 3a 5c 22 68 77 63 5c 22 2c 5c 22 6b 65 70 74 5f 62 6c 6f 63
6b 73 5c 22 3a 31 2c 5c 22 6b 65 72 6e 65 6c 5c 22 3a 5b 31 2c 31 5d 2c 5c 22 73 74 72 69 64 65
5c 22 3a 5b 31 2c 31 5d 2c 5c 22 70 61 64 64 69 6e 67 5c 22 3a 5b 30 2c 30 5d 2c 5c 22 64 69 6c
61 74 69 6f 6e 5c 22 3a 5b 31 2c 31 5d 2c 5c 22 67 72 6f 75 70 73 5c 22 3a 31 2c 5c 22 69 6e 5f
63 68 61 6e 6e 65 6c 73 5c 22 3a 38 2c 5c 22 69 6e 5f 68 65 69 67 68 74 5c 22 3a 32 2c 5c 22 69
6e 5f 77 69 64 74 68 5c 22 3a 32 2c 5c 22 70 5c 22 3a 34 2c 5c 22 62 61 74 63 68 5c 22 3a 31 2c
5c 22 63 61 6c 6c 73 5c 22 3a 31 2c 5c 22 64 74 79 70 65 5c 22 3a 5c 22 69 6e 74 38 5c 22 2c 5c
22 73 63 61 6c 65 73 5c 22 3a 6e 75 6c 6c 2c 5c 22 7a 65 72 6f 5f 70 6f 69 6e 74 73 5c 22 3a 6e
75 6c 6c 2c 5c 22 75 6e 73 74 72 75 63 74 75 72 65 64 5c 22 3a 66 61 6c 73 65 2c 5c 22 61 63 74
69 76 61 74 69 6f 6e 73 5c 22 3a 6e 75 6c 6c 2c 5c 22 61 63 74 69 76 61 74 69 6f 6e 5f 6c 61 79
6f 75 74 5c 22 3a 5c 22 68 77 63 5c 22 7d 5d 22 2c 22 6d 61 64 65 5f 62 79 22 3a 22 7b 5c 22 74
6f 6f 6c 5c 22 3a 5c 22 68 61 6e 64 5c 22 7d 22 7d 2c 22 63 2e 62 6c 6f 63 6b 5f 63 6f 6c 73 22
3a 7b 22 64 74 79 70 65 22 3a 22 49 33 32 22 2c 22 73 68 61 70 65 22 3a 5b 31 2c 31 5d 2c 22 64
61 74 61 5f 6f 66 66 73 65 74 73 22 3a 5b 30 2c 34 5d 7d 2c 22 63 2e 76 61 6c 75 65 73 22 3a 7b
22 64 74 79 70 65 22 3a 22 49 38 22 2c 22 73 68 61 70 65 22 3a 5b 31 2c 31 2c 34 2c 32 5d 2c 22
64 61 74 61 5f 6f 66 66 73 65 74 73 22 3a 5b 34 2c 31 32 5d 7d 2c 22 63 2e 6e 6d 5f 69 6e 64 65
78 22 3a 7b 22 64 74 79 70 65 22 3a 22 55 38 22 2c 22 73 68 61 70 65 22 3a 5b 31 2c 31 2c 32 5d
2c 22 64 61 74 61 5f 6f 66 66 73 65 74 73 22 3a 5b 31 32 2c 31 34 5d 7d 7d 20 20 20 20 20 20 20
"""

DATA = """
01 00 00 00
01 02 03 04 05 06 00 f9
9c 4e
"""

FILE = bytes.fromhex(LENGTH + HEADER + DATA)

RIGHT_HALF = [[1, 0, 0, 2], [0, 3, 4, 0], [0, 0, 5, 6], [0, -7, 0, 0]]


def model():
    dense = np.hstack([np.zeros((4, 4)), RIGHT_HALF]).astype(np.int8)
    weights = CrispMatrix.encode(dense, n=2, m=4, block=4)
    geometry = {"kind": "conv", "in_channels": 8, "in_height": 2, "in_width": 2, "p": 4}
    layer = PackedLayer(name="c", weights=weights, dtype="int8", **geometry)
    return PackedModel((layer,), {"tool": "hand"})


def test_writes_these_bytes(tmp_path):
    path = tmp_path / "c.safetensors"
    write_model(path, model())
    assert path.read_bytes() == FILE


def test_reads_these_bytes(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(FILE)
    found = read_model(path)
    assert found.made_by == {"tool": "hand"}
    assert found["c"].record() == model()["c"].record()
    assert found["c"].weights.decode()[:, 4:].tolist() == RIGHT_HALF
    assert not found["c"].weights.decode()[:, :4].any()


def test_format_md_shows_these_bytes():
    law = Path(packed_file.__file__).with_name("FORMAT.md").read_text(encoding="utf-8")
    lines = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ){1,15}[0-9a-f]{2}) ", law, re.MULTILINE)
    assert bytes.fromhex("".join(lines)) == FILE
