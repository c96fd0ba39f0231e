"""What `crispsim inspect` counts, against hand-worked numbers and the independent check of a packed file."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from crispsim.bench.inspected_layer import STORAGES
from crispsim.bench.inspection import inspect_model
from crispsim.cli.inspect import print_inspection
from crispsim.cli.terminal import Terminal
from crispsim.formats import CrispMatrix, NMMatrix, PackedLayer, PackedModel, Pattern, draw_weights, write_model
from crispsim.sim import InputError
from tests.reference.packed_check import check_packed

# 4 x 10 in blocks of 4, 2:4; block column 2 has two real columns and is kept with column 0. Row 3 keeps a zero or two.
CRISP = np.zeros((4, 10), dtype=np.int8)
CRISP[:, :4] = [[1, 0, 0, 2], [0, 3, 4, 0], [0, 0, 5, 6], [0, 0, 7, 0]]
CRISP[:, 8:] = [[1, 2], [3, 4], [5, 6], [0, 0]]


def gemm(name, weights, columns, **given):
    given = {"in_height": 6, "p": 6, "dtype": "int8", **given}
    return PackedLayer(name=name, weights=weights, kind="gemm", in_channels=columns, **given)


def model(path: Path) -> Path:
    nm = NMMatrix.encode(np.array([[9, 0, 0, 0, 8]], dtype=np.float16), n=1, m=4)
    dense = np.array([[0, 1], [2, 5]], dtype=np.int8)
    groups = tuple(draw_weights((5, 16), Pattern(n=1, m=2, block=4), 0.7, seed=g) for g in range(2))
    layers = (
        gemm("first", dense, 2, scales=(1.0, 2.0), zero_points=(1, 5)),
        gemm("a.crisp", CrispMatrix.encode(CRISP, n=2, m=4, block=4), 10, calls=3),
        gemm("a.nm", nm, 5, dtype="float16"),
        PackedLayer(
            name="b", weights=groups, kind="conv", groups=2, in_channels=32, in_height=2, in_width=2, p=4, dtype="int8"
        ),
    )
    write_model(path, PackedModel(layers, {"tool": "test", "seed": 3}))
    return path


@pytest.fixture
def path(tmp_path):
    return model(tmp_path / "model.safetensors")


def damaged(path: Path) -> Path:
    """Swap the two indices of a group of a.crisp."""
    with safe_open(str(path), framework="numpy") as file:
        metadata = file.metadata()
    tensors = {name: array.copy() for name, array in safetensors.numpy.load_file(path).items()}
    index = tensors["a.crisp.nm_index"]
    assert index[0, 0, 0] & 0b1111 == 0b1100  # row 0: 0 and 3
    index[0, 0, 0] = index[0, 0, 0] & 0b11110000 | 0b0011
    safetensors.numpy.save_file(tensors, path, metadata)
    return path


def test_the_layers(path):
    first, crisp, nm, groups = inspect_model(path).layers
    assert (first.patterned, first.weights, first.kept_weights, first.nonzeros) == (
        False,
        4,
        4,
        2,
    )  # 1 and 5 stand for 0
    assert (crisp.pattern, crisp.kept_blocks, crisp.block_columns) == (Pattern(n=2, m=4, block=4), 2, 3)
    assert (crisp.weights, crisp.kept_weights, crisp.nonzeros) == (40, 4 * 2 + 4 * 2, 13)
    assert (nm.pattern, nm.kept_blocks, nm.dtype) == (Pattern(n=1, m=4), None, "float16")
    assert (nm.weights, nm.kept_weights, nm.nonzeros) == (5, 2, 2)
    assert (groups.groups, groups.kept_blocks, groups.block_columns) == (2, 2, 4)
    assert (groups.weights, groups.kept_weights, groups.nonzeros) == (160, 2 * 5 * 2 * 2, 40)
    assert crisp.record()["sparsity"] == 1 - 16 / 40
    assert crisp.record()["zeros"] == 1 - 13 / 40
    assert crisp.record()["macs_dense"] == 40 * 6 * 3
    assert crisp.record()["macs_kept"] == 16 * 6 * 3


def test_the_counts_are_those_of_the_independent_check(path):
    inspection, findings = inspect_model(path), check_packed(path)
    assert findings.violations == []
    for mine, other in zip(inspection.layers, findings.layers, strict=True):
        assert (mine.name, mine.patterned, mine.weights, mine.kept_weights) == (
            other.name,
            other.patterned,
            other.weights,
            other.slots,
        )
        assert mine.nonzeros == sum(np.count_nonzero(matrix) for matrix in other.matrices)
    assert inspection.total(inspection.patterned)["sparsity"] == pytest.approx(float(findings.sparsity), abs=1e-15)


def test_the_bytes_are_those_of_the_file(path):
    inspection = inspect_model(path)
    _, crisp, nm, _ = inspection.layers
    assert crisp.tensor_bytes == {"values": 2 * 4 * 2, "block_cols": 2 * 4, "nm_index": 2 * 2}
    assert nm.tensor_bytes == {"values": 2 * 2, "nm_index": 1}
    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert inspection.header_bytes == 8 + length
    assert inspection.file_bytes == 8 + length + sum(inspection.tensor_bytes().values())


def test_what_other_formats_take(path):
    first, crisp, nm, _ = inspect_model(path).layers
    bits = {name: (each.value_bits, each.metadata_bits) for name, each in crisp.storage.items()}
    assert list(bits) == list(STORAGES)
    assert bits == {
        "packed": (8 * 16, 16 * 2 + 2 * 2),  # 2 bits an index, 2 bits to name one of three block columns
        "csr": (8 * 13, 13 * 4 + 5 * 4),  # 4 bits name one of 10 columns, and count to 13
        "ellpack": (8 * 16, 16 * 4),  # four slots in every row
        "bitmap": (8 * 13, 1 + 32 * 16),  # one tile
        "blocked-ell": (8 * 32, 2 * 2),
        "nm": (8 * 4 * 6, 4 * 16),  # three groups a row; 12 bits of indices are 2 bytes
        "dense": (8 * 40, 0),
    }
    assert "blocked-ell" not in nm.storage
    assert set(first.storage) == {"packed", "dense"}


def test_a_layer_that_a_format_does_not_fit_is_dense_in_the_sum(path):
    inspection = inspect_model(path, ["a.*"])
    _, nm = inspection.layers
    assert (len(inspection.layers), inspection.layers_in_file) == (2, 4)
    assert inspection.storage()["blocked-ell"].total_bits == 8 * 32 + 4 + nm.storage["dense"].total_bits


def test_damage_is_a_layers_defect(path):
    inspection = inspect_model(damaged(path))
    assert [layer.defect is not None for layer in inspection.layers] == [False, True, False, False]
    [line] = inspection.defects
    assert line.startswith("layer 'a.crisp': crisp: block row 0, block 0, group 0: index")
    assert inspection.layers[1].storage == {}
    assert inspection.layers[1].kept_weights == 16
    json.dumps(inspection.record())


def test_names_are_patterns_and_stand_for_themselves(path, tmp_path):
    assert [layer.name for layer in inspect_model(path, ["b", "a.n?"]).layers] == ["a.nm", "b"]
    odd = tmp_path / "odd.safetensors"
    write_model(odd, PackedModel((gemm("x[1]", np.ones((1, 1), np.int8), 1),)))
    assert len(inspect_model(odd, ["x[1]"]).layers) == 1
    with pytest.raises(InputError, match=r"--layer A\.\*: fits none of the 4 layers of"):
        inspect_model(path, ["A.*"])


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("chosen", [(), ("first",), ("a.crisp", "b")])
def test_the_tables_fit(path, width, chosen):
    console = Terminal(width=width, file=StringIO())
    print_inspection(inspect_model(path, chosen), console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
