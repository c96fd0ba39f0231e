"""A packed layer in other libraries' formats: each gives the matrix back that the CRISP matrix decodes to."""

import numpy as np
import pytest
import torch

from crispsim.formats import CrispMatrix, NMMatrix, PackedLayer, PackedModel, Pattern, draw_weights
from crispsim.prune.errors import PruneError
from crispsim.prune.export import (
    export,
    to_blocked_ell_arrays,
    to_scipy_bsr,
    to_state_dict,
    to_torch_bsr,
    to_torch_semi_structured,
)
from crispsim.prune.matrix import to_matrix


def gemm(matrix, name="l", **more):
    k = matrix.shape[1]
    dtype = str(matrix.dtype if isinstance(matrix, np.ndarray) else matrix.values.dtype)
    return PackedLayer(name=name, weights=matrix, kind="gemm", in_channels=k, in_height=1, p=1, dtype=dtype, **more)


HYBRID = Pattern(n=2, m=4, block=4)


def drawn(dtype=np.float32, shape=(10, 27), pattern=HYBRID, sparsity=0.75, **more):
    matrix = draw_weights(shape, pattern, sparsity if pattern.block else None, seed=3)
    values = {"values": matrix.values.astype(dtype), "nm_index": matrix.nm_index, "shape": shape}
    if isinstance(matrix, CrispMatrix):
        return gemm(CrispMatrix(n=pattern.n, m=pattern.m, block=4, block_cols=matrix.block_cols, **values), **more)
    return gemm(NMMatrix(n=pattern.n, m=pattern.m, **values), **more)


def padded(layer, block=4):
    dense = layer.weights.decode()
    return np.pad(dense, [(0, -side % block) for side in dense.shape])


DTYPES = [np.float32, np.float16, np.int8]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nm", [(2, 4), (1, 1)])
class TestBlocks:
    def layer(self, dtype, nm):
        return drawn(dtype, pattern=Pattern(n=nm[0], m=nm[1], block=4))

    def test_blocked_ell(self, dtype, nm):
        layer = self.layer(dtype, nm)
        arrays = to_blocked_ell_arrays(layer)
        rows, cols, block, width = (int(arrays[f]) for f in ("rows", "cols", "ellBlockSize", "ellCols"))
        assert (rows, cols, block, width) == (12, 28, 4, 4 * layer.weights.block_cols.shape[1])
        assert arrays["ellColInd"].shape == (rows // block, width // block)
        assert arrays["ellValue"].flags.c_contiguous
        flat, found = arrays["ellValue"].ravel(), np.zeros((rows, cols), dtype)
        for row in range(rows):  # as cusparseCreateBlockedEll reads it, rows of ellCols values
            for at in range(width):
                column = arrays["ellColInd"].ravel()[row // block * (width // block) + at // block]
                found[row, column * block + at % block] = flat[row * width + at]
        np.testing.assert_array_equal(found, padded(layer))

    def test_torch_bsr(self, dtype, nm):
        layer = self.layer(dtype, nm)
        tensor = to_torch_bsr(layer)
        assert tensor.layout == torch.sparse_bsr
        np.testing.assert_array_equal(tensor.to_dense().numpy(), padded(layer))

    def test_scipy_bsr(self, dtype, nm):
        layer = self.layer(dtype, nm)
        matrix = to_scipy_bsr(layer)
        assert matrix.blocksize == (4, 4)
        np.testing.assert_array_equal(matrix.toarray(), padded(layer))
        assert (matrix @ np.ones(28, np.float32)).shape == (12,)


def test_blocks_abreast_share_each_row_of_values():
    """As in the sample dense2sparse_blockedell of NVIDIA's CUDALibrarySamples: not block after block."""
    dense = np.array([[1, 2, 0, 0, 3, 4], [-1, -2, 0, 0, -3, -4]], np.float32)
    arrays = to_blocked_ell_arrays(gemm(CrispMatrix.encode(dense, n=1, m=1, block=2)))
    assert arrays["ellColInd"].tolist() == [[0, 2]]
    assert arrays["ellValue"].ravel().tolist() == [1, 2, 3, 4, -1, -2, -3, -4]


def test_layers_without_blocks_are_refused():
    for layer in (drawn(pattern=Pattern(n=2, m=4)), gemm(np.ones((4, 8), np.float32))):
        for convert in (to_blocked_ell_arrays, to_torch_bsr, to_scipy_bsr):
            with pytest.raises(PruneError, match=r"layer 'l': pattern (2:4|dense): must have blocks"):
                convert(layer)


def test_semi_structured_wants_2_4_and_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PruneError, match="need a CUDA device: there is none"):
        to_torch_semi_structured(drawn())
    for pattern in (Pattern(n=3, m=4, block=4), Pattern(block=4)):
        with pytest.raises(PruneError, match="at most 2 nonzeros in 4 neighbours"):
            to_torch_semi_structured(drawn(pattern=pattern))


def test_what_torchs_2_4_kernels_are_given(monkeypatch):
    """Everything up to the kernel, which this machine lacks."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", lambda tensor: tensor)
    layer = drawn(np.int8, scales=(0.5,) * 10)
    given = to_torch_semi_structured(layer)
    assert (given.dtype, tuple(given.shape)) == (torch.float16, (32, 64))
    np.testing.assert_array_equal(given[:10, :27].float().numpy(), layer.weights.decode() * 0.5)
    assert not given[10:].any()
    assert not given[:, 27:].any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch's 2:4 kernels need a GPU")
def test_semi_structured_on_a_gpu():
    layer = drawn(np.float16)
    product = to_torch_semi_structured(layer) @ torch.eye(64, dtype=torch.float16, device="cuda")
    np.testing.assert_array_equal(product[:10, :27].cpu().numpy(), layer.weights.decode())


class TestStateDict:
    @pytest.mark.parametrize("order", ["hwc", "chw"])
    def test_weights_in_their_own_shapes(self, order):
        weight = torch.randn(6, 4, 3, 2)
        matrix = to_matrix(weight) if order == "hwc" else weight.flatten(1)
        sizes = {"kernel": (3, 2), "in_channels": 4, "in_height": 3, "in_width": 2, "p": 1}
        layer = PackedLayer(
            name="c", weights=matrix.contiguous().numpy(), kind="conv", dtype="float32", k_order=order, **sizes
        )
        assert torch.equal(to_state_dict(PackedModel((layer,)))["c.weight"], weight)

    def test_groups_and_int8(self):
        stored = np.arange(-8, 16, dtype=np.int8).reshape(2, 3, 4)
        scales, zeros = (1.0, 0.5, 0.25, 2.0, 4.0, 8.0), (1, 0, 0, 0, 0, -1)
        layer = PackedLayer(
            name="g",
            weights=tuple(stored),
            kind="conv",
            groups=2,
            in_channels=8,
            in_height=1,
            in_width=1,
            p=1,
            dtype="int8",
            scales=scales,
            zero_points=zeros,
        )
        expected = (stored.reshape(6, 4) - np.array(zeros)[:, None]) * np.array(scales)[:, None]
        found = to_state_dict(PackedModel((layer,)))["g.weight"]
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found[:, :, 0, 0].numpy(), expected)

    def test_attention_gets_its_names_back(self):
        layers = (drawn(name="a.in_proj"), drawn(name="a.out_proj"))
        model = PackedModel(layers, {"parameters": {"a.in_proj": "a.in_proj_weight"}})
        assert list(to_state_dict(model)) == ["a.in_proj_weight", "a.out_proj.weight"]
        clash = PackedModel(layers, {"parameters": {"a.in_proj": "a.out_proj.weight"}})
        with pytest.raises(PruneError, match=r"'a.out_proj': its weight is called 'a.out_proj.weight': another"):
            to_state_dict(clash)


def test_a_whole_model_keeps_its_dense_layers():
    model = PackedModel((drawn(np.int8, name="b", scales=(1.0,) * 10), gemm(np.ones((2, 3), np.int8), name="d")))
    content, dense = export(model, "blocked-ell")
    assert dense == ["d"]
    assert {"b.ellValue", "b.scales", "d.dense"} <= set(content)
    content, dense = export(model, "torch-bsr")
    assert content["b"]["shape"] == [10, 27]
    assert content["b"]["scales"].tolist() == [1.0] * 10
    assert content["d"]["weight"].tolist() == [[1, 1, 1]] * 2
    assert list(export(model, "state-dict", ["d"])[0]) == ["d.weight"]
    for kind, names, said in (
        ("blocked-ell", ["d"], "layer 'd': pattern dense: must have blocks"),
        ("blocked-ell", ["x"], "layer 'x': not among the 2 of the model"),
        ("csr", [], "format 'csr': must be one of"),
    ):
        with pytest.raises(PruneError, match=said):
            export(model, kind, names)
