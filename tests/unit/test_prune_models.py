import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from crispsim.prune.errors import PruneError
from crispsim.prune.models import load_model, prepare_torchvision, resnet_small, resnet_tiny


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 32, 32), (3, 17, 40)])
@pytest.mark.parametrize("name", ["resnet_small", "resnet_tiny"])
def test_small_resnets_take_digits_and_icons(name, shape):
    model = load_model(f"crispsim.prune.models:{name}", classes=7, input_shape=shape)
    assert model(torch.zeros(2, *shape)).shape == (2, 7)
    assert model.training
    assert not any(tensor.is_meta for tensor in model.state_dict().values())


def test_sizes_as_promised():
    def size(model):
        return sum(parameter.numel() for parameter in model.parameters())

    # Convolutions and BatchNorms (2 per channel) by hand: 32 in front, then (in, out) of the six blocks.
    expected = 9 * 32 + 2 * 32
    for inside, outside in ((32, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)):
        expected += 9 * inside * outside + 9 * outside * outside + 4 * outside
        expected += (inside * outside + 2 * outside) * (inside != outside)
    assert size(resnet_small(num_classes=100)) == expected + 128 * 100 + 100
    assert 20_000 <= size(resnet_tiny()) <= 60_000


def test_small_resnet_leaves_blocks_of_64_to_prune():
    model = resnet_small()
    shapes = [m.weight.flatten(1).shape for m in model.modules() if isinstance(m, nn.Conv2d)][1:]
    assert all(rows % 16 == 0 and columns % 16 == 0 for rows, columns in shapes)
    assert (128, 1152) in shapes


@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("resnet50", (3, 64, 64), {}),
        ("vgg16", (3, 32, 32), {}),
        ("mobilenet_v2", (3, 224, 224), {}),
        ("vit_b_16", (3, 224, 224), {}),
        ("vit_b_16", (3, 32, 32), {"image_size": 32}),
    ],
)
def test_torchvision_models(name, shape, arguments):
    with torch.device("meta"):
        model = load_model(f"torchvision.models:{name}", classes=13, input_shape=shape, arguments=arguments)
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    assert last.out_features == 13


def test_torchvision_model_with_real_weights_computes():
    model = load_model("torchvision.models:mobilenet_v2", classes=5, input_shape=(3, 32, 32)).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("vit_b_16", (3, 32, 32), "does not take images \\[3, 32, 32\\]: Wrong image height! Expected 224 but got 32"),
        ("resnet50", (1, 64, 64), "does not take images \\[1, 64, 64\\]: .*torchvision's models take 3 channels"),
    ],
)
def test_mismatched_images_are_refused_in_one_line(name, shape, message):
    with torch.device("meta"), pytest.raises(PruneError, match=message) as error:
        load_model(f"torchvision.models:{name}", classes=3, input_shape=shape)
    assert "\n" not in str(error.value)


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(
        textwrap.dedent("""
        import torch
        from torch import nn

        given = {}

        class Awkward(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(4, 2)
            def forward(self, images):
                assert images.sum().item() == 0  # the meta device has no values
                return self.fc(images.flatten(1))

        def fixed(): return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        def keywords(**kwargs):
            given.update(kwargs)
            return nn.Sequential(nn.Flatten(), nn.Linear(4, kwargs["num_classes"]))
        def channels(in_channels, width=2):
            given.update(in_channels=in_channels, width=width)
            return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        def awkward(): return Awkward()
        def fails(num_classes): raise RuntimeError("first line\\nsecond line")
        def no_module(): return 3
        def pair(): return Pair()

        class Pair(nn.Module):
            def forward(self, images): return images, images
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("own_models", None)
    import own_models

    return own_models


def test_factories_get_what_they_take(own_models):
    load_model("own_models:keywords", classes=2, input_shape=(1, 2, 2))
    assert own_models.given == {"num_classes": 2}
    own_models.given.clear()
    load_model("own_models:channels", classes=2, input_shape=(1, 2, 2), arguments={"width": 9})
    assert own_models.given == {"in_channels": 1, "width": 9}


def test_models_that_the_meta_device_cannot_run_are_run_in_earnest(own_models):
    load_model("own_models:awkward", classes=2, input_shape=(1, 2, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("own_models:fixed", r"gives \[1, 3\] for one image \[1, 2, 2\], must be \[1, 2\]"),
        ("own_models:pair", "gives tuple"),
        ("own_models:fails", "fails with num_classes=2: first line$"),
        ("own_models:no_module", "must return a torch.nn.Module, not int"),
        ("own_models:absent", "own_models has no absent"),
        ("torchvision.models:resnet51", "torchvision.models has no resnet51"),
        ("resnet50", "must be module:function"),
    ],
)
def test_models_refused(own_models, text, message):
    with pytest.raises(PruneError, match=message):
        load_model(text, classes=2, input_shape=(1, 2, 2))


def test_batch_statistics_are_not_touched():
    model = load_model("crispsim.prune.models:resnet_tiny", classes=2, input_shape=(1, 8, 8))
    assert all(int(m.num_batches_tracked) == 0 for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def run(code, *path):
    lines = [f"import sys; sys.path[:0] = {list(map(str, path))!r}", textwrap.dedent(code)]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], check=False, capture_output=True, text=True, timeout=120
    )


FAKE = """
import torch
{extension}
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold): return dets
@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold): return dets
"""
LOADED = """
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def test_missing_operators_are_declared(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("from . import meta\n")
    (tmp_path / "torchvision" / "meta.py").write_text(FAKE.format(extension=""))
    done = run(
        """
        try:
            import torchvision
        except RuntimeError as error:
            print(error)
        from crispsim.prune.models import prepare_torchvision
        prepare_torchvision()
        prepare_torchvision()
        import torchvision
        print(torchvision.meta.nms.__name__)
        """,
        tmp_path,
    )
    assert done.stdout == "operator torchvision::nms does not exist\nnms\n", done.stderr


def test_a_sound_torchvision_is_left_alone(tmp_path):
    (tmp_path / "torchvision.py").write_text(FAKE.format(extension=LOADED))
    done = run(
        """
        from crispsim.prune.models import prepare_torchvision, torchvision_ops
        prepare_torchvision()
        print(len(torchvision_ops._declared))
        """,
        tmp_path,
    )
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("raise ModuleNotFoundError(\"No module named 'torchvision'\", name='torchvision')", "not installed (pip"),
        ("import numpyy", "does not import: No module named 'numpyy'"),
        ("raise RuntimeError('built for another torch')", "does not import: built for another torch"),
    ],
)
def test_a_torchvision_that_cannot_be_helped(tmp_path, monkeypatch, content, message):
    (tmp_path / "torchvision.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            patch.delitem(sys.modules, name)
        with pytest.raises(PruneError) as error:
            prepare_torchvision()
    assert message in str(error.value)
