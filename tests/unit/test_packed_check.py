"""The independent check of a packed file: it counts right, and finds each kind of damage."""

import json
from fractions import Fraction

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from crispsim.formats import CrispMatrix, NMMatrix, PackedLayer, PackedModel, write_model
from tests.reference.packed_check import check_packed

# 6 x 10 in blocks of 4, 2:4: padded to 8 x 12, the last block row has 2 rows, the last block column 2 columns.
# Block columns 0 and 2 are kept in the first block row, 1 and 2 in the second.
CRISP = np.zeros((6, 10), dtype=np.int8)
CRISP[:4, :4] = [[1, 0, 0, 2], [0, 3, 4, 0], [0, 0, 5, 0], [0, 0, 0, 0]]
CRISP[:4, 8:] = [[6, 7], [8, 0], [0, 9], [10, 11]]
CRISP[4:, 4:8] = [[0, -1, 0, -2], [-3, 0, 0, 0]]
CRISP[4:, 8:] = [[-4, -5], [0, 0]]
KEPT = np.array([[0, 2], [1, 2]], dtype=np.int32)

NM = np.array([[1, 0, 0, 0, 2], [0, 0, 3, 0, 4]], dtype=np.float32)  # 1:4, a last group of one
DENSE = np.array([[1, 0, 3], [4, 5, 6]], dtype=np.float16)


def gemm(name: str, weights, columns: int, **given) -> PackedLayer:
    return PackedLayer(name=name, weights=weights, kind="gemm", in_channels=columns, in_height=7, p=7, **given)


@pytest.fixture
def path(tmp_path):
    """A file of four layers: blocks with scales, N:M alone, dense, two groups of blocks."""
    crisp = CrispMatrix.encode(CRISP, n=2, m=4, block=4, block_cols=KEPT)
    groups = tuple(CrispMatrix.encode(k * np.eye(2, 4, 2, dtype=np.int8), n=1, m=2, block=2) for k in (1, 2))
    layers = (
        gemm("a.crisp", crisp, 10, dtype="int8", scales=(1.0, 2.0, 0.5, 1.0, 1.0, 1.0)),
        gemm("nm", NMMatrix.encode(NM, n=1, m=4), 5, dtype="float32"),
        gemm("dense", DENSE, 3, dtype="float16"),
        PackedLayer(
            name="grouped",
            weights=groups,
            kind="conv",
            groups=2,
            in_channels=8,
            in_height=3,
            in_width=3,
            p=9,
            dtype="int8",
        ),
    )
    write_model(tmp_path / "model.safetensors", PackedModel(layers, {"tool": "test"}))
    return tmp_path / "model.safetensors"


def damage(path, **changes) -> list[str]:
    """Write the file with arrays (by `layer__role`) or one layer's fields (`layer`: {...}) changed; its violations."""
    with safe_open(str(path), framework="numpy") as file:
        metadata = file.metadata()
    tensors = safetensors.numpy.load_file(path)
    layers = json.loads(metadata["layers"])
    for key, change in changes.items():
        layer, _, role = key.replace("a_crisp", "a.crisp").partition("__")
        if not role:
            next(each for each in layers if each["name"] == layer).update(change)
        elif change is None:
            del tensors[f"{layer}.{role}"]
        else:
            tensors[f"{layer}.{role}"] = change(tensors.get(f"{layer}.{role}"))
    safetensors.numpy.save_file(tensors, path, {**metadata, "layers": json.dumps(layers)})
    return check_packed(path).violations


def put(*at_and_value):
    """Return what sets one element of an array."""
    *at, value = at_and_value

    def change(array):
        array = array.copy()
        array[tuple(at)] = value
        return array

    return change


def test_a_good_file_and_its_counts(path):
    findings = check_packed(path)
    assert findings.violations == []
    crisp, nm, dense, grouped = findings.layers
    # Kept slots: rows 0-3 have 2 of block 0 and min(2, 2) of block 2; so have rows 4 and 5. 14 of them are not zero.
    assert (crisp.weights, crisp.slots, crisp.nonzeros) == (60, 24, np.count_nonzero(CRISP))
    assert (crisp.block_rows, crisp.kept_blocks, crisp.rank_column) == (2, 2, 6 * 2)
    assert (nm.weights, nm.slots, nm.nonzeros, nm.rank_column) == (10, 4, 4, 0)
    assert (dense.patterned, dense.weights, dense.slots, dense.nonzeros) == (False, 6, 6, 5)
    # Each group keeps one of two blocks, whose two rows have a slot each.
    assert (grouped.weights, grouped.slots, grouped.nonzeros, grouped.block_rows) == (16, 4, 4, 2)
    assert (findings.weights, findings.slots) == (60 + 10 + 16, 24 + 4 + 4)
    assert findings.sparsity == 1 - Fraction(32, 86)
    assert findings.rank_column == 12


def test_the_matrices_come_back_scaled(path):
    crisp, nm, dense, grouped = (layer.matrices for layer in check_packed(path).layers)
    assert np.array_equal(crisp[0], CRISP * np.array([[1, 2, 0.5, 1, 1, 1]]).T)
    assert np.array_equal(nm[0], NM)
    assert np.array_equal(dense[0], DENSE)
    assert [matrix.tolist() for matrix in grouped] == [[[0, 0, k, 0], [0, 0, 0, k]] for k in (1, 2)]


def test_a_promise_is_kept_to_within_one_rank_column(path):
    findings = check_packed(path)  # 32 of 86 kept, a rank column of 12
    assert findings.keeps(1 - Fraction(32, 86))
    assert findings.keeps(1 - Fraction(43, 86))
    assert not findings.keeps(1 - Fraction(44, 86))  # 44 allowed: there was room for the whole rank column
    assert not findings.keeps(1 - Fraction(31, 86))


def test_other_files(tmp_path):
    (tmp_path / "text").write_text("no")
    assert check_packed(tmp_path / "text").violations[0].startswith("file: not safetensors")
    safetensors.numpy.save_file({"a": np.zeros(1)}, tmp_path / "plain")
    assert "metadata: no layers" in check_packed(tmp_path / "plain").violations


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        (
            {"a_crisp__block_cols": put(0, slice(None), [2, 0])},
            "a.crisp: block row 0: block columns are not strictly asc",
        ),
        (
            {"a_crisp__block_cols": put(1, slice(None), [1, 1])},
            "a.crisp: block row 1: block columns are not strictly asc",
        ),
        ({"a_crisp__block_cols": put(0, 1, 3)}, "a.crisp: a block column out of 0 .. 2"),
        ({"a_crisp__block_cols": put(0, 0, -1)}, "a.crisp: a block column out of 0 .. 2"),
        ({"a_crisp__values": put(0, 1, 0, 1, 0)}, None),  # a zero in a slot: fine
        ({"a_crisp__values": put(1, 0, 3, 1, 5)}, "a.crisp: padding is not zero"),  # row 7
        ({"a_crisp__nm_index": put(0, 1, 0, 0b01001000)}, "a.crisp: padding is not zero"),  # 0 and 2: column 8 + 2
        ({"a_crisp__nm_index": put(0, 0, 0, 0b0101)}, "a.crisp: indices of a group are not strictly ascending"),
        ({"a_crisp__nm_index": put(0, 0, 0, 0b0011)}, "a.crisp: indices of a group are not strictly ascending"),
        ({"a_crisp__values": lambda array: array.astype(np.float32)}, "a.crisp: values is float32"),
        (
            {"a_crisp__block_cols": lambda array: array[:, :1].copy()},
            "a.crisp: block_cols is int32 (2, 1), not int32 (2, 2)",
        ),
        ({"a_crisp__nm_index": None}, "a.crisp: no tensor nm_index"),
        ({"a_crisp__dense": lambda _: CRISP}, "a.crisp: superfluous tensor dense"),
        ({"a_crisp": {"zero_points": [0, 0, 0, 0, 1, 0]}}, "a.crisp: zero points other than 0 with a pattern"),
        ({"nm__nm_index": put(0, 0, 0b11110000)}, "nm: unused bits of nm_index are not zero"),
        ({"nm__nm_index": put(0, 0, 0b0100)}, "nm: padding is not zero"),
        ({"nm__values": put(0, 0, np.nan)}, "nm: a weight is not finite"),
        ({"nm": {"m": 3}, "nm__nm_index": put(0, 0, 0b0011)}, "nm: an index of 3 in a group of 3"),
        ({"dense__values": lambda _: DENSE}, "dense: superfluous tensor values"),
        ({"grouped__block_cols": put(1, 0, 0, 7)}, "grouped: group 1: a block column out of 0 .. 1"),
        ({"stray__values": lambda _: DENSE}, "tensor stray.values: belongs to no layer"),
    ],
)
def test_damage_is_found(path, changes, violation):
    violations = damage(path, **changes)
    if violation is None:
        assert violations == []
    else:
        assert len(violations) == 1
        assert violations[0].startswith(violation)
