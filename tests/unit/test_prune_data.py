import json
import os
import pickle

import click
import numpy as np
import pytest
import torch
from PIL import Image

from crispsim.cli.training import data_option
from crispsim.prune.data import DATA_HELP, RandomAffine, RandomShift, Splits, TensorImages, load_data
from crispsim.prune.data.splitting import within_class_share
from crispsim.prune.errors import PruneError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def toy(augmentation=None):
    pixels = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 1, 2, 2).contiguous()
    return TensorImages(pixels, torch.tensor([0, 1, 2, 0, 1, 0]), mean=[1.0], std=[2.0], augmentation=augmentation)


def test_subset_relabels_in_the_order_of_the_classes_and_keeps_the_order_of_images():
    subset = toy().subset([1, 0])
    assert subset.targets.tolist() == [1, 0, 1, 0, 1]
    values = subset.batch(torch.arange(5))[:, 0, 0, 0]
    assert values.tolist() == [(v - 1) / 2 for v in (0, 1, 3, 4, 5)]


def test_subset_takes_the_first_images_of_each_class():
    subset = toy().subset([0, 2], per_class=2)
    assert subset.targets.tolist() == [0, 1, 0]
    assert subset.batch(torch.arange(3))[:, 0, 0, 0].tolist() == [(v - 1) / 2 for v in (0, 2, 3)]


@pytest.mark.parametrize(("classes", "per_class"), [([], None), ([1, 1], None), ([3], None), ([-1], None), ([0], 0)])
def test_subset_refuses(classes, per_class):
    with pytest.raises(PruneError):
        toy().subset(classes, per_class)


def test_augmentation_is_asked_for_by_a_generator():
    images = toy(lambda pixels, _: pixels + 10)
    everything = torch.arange(6)
    assert torch.equal(images.batch(everything, generator()), images.batch(everything) + 5)
    assert torch.equal(toy().batch(everything, generator()), toy().batch(everything))


def test_tensor_images_check_their_arrays():
    pixels, targets = torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    for wrong in (
        {"pixels": pixels.float()},
        {"pixels": pixels[:, 0]},
        {"targets": targets[:1]},
        {"targets": targets.int()},
        {"mean": [0, 0]},
        {"std": [0]},
    ):
        given = {"pixels": pixels, "targets": targets, "mean": [0], "std": [1], **wrong}
        with pytest.raises(PruneError):
            TensorImages(given.pop("pixels"), given.pop("targets"), **given)


def test_shift_moves_whole_pixels_and_fills_with_background():
    image = torch.arange(1.0, 26).view(1, 1, 5, 5)
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))[0, 0]
    possible = {
        tuple(padded[row : row + 5, column : column + 5].flatten().tolist()) for row in range(5) for column in range(5)
    }
    shifted = RandomShift(2)(image.expand(2000, 1, 5, 5), generator())
    assert {tuple(one.flatten().tolist()) for one in shifted} == possible


def test_shift_keeps_channels_together_and_mirrors_half():
    image = torch.rand(1, 3, 4, 6)
    changed = RandomShift(0, mirror=True)(image.expand(400, 3, 4, 6), generator())
    same = (changed == image).flatten(1).all(1)
    mirrored = (changed == image.flip(3)).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert 140 < int(mirrored.sum()) < 260


def test_affine_with_nothing_to_change_changes_nothing():
    image = torch.rand(3, 2, 8, 8) * 255
    torch.testing.assert_close(RandomAffine(0, 0, 0)(image, generator()), image, atol=1e-3, rtol=0)


def test_affine_turn_keeps_distances_in_oblong_images():
    # Two points on one row, 24 apart: after a turn they must still be 24 apart, also where W differs from H.
    image = torch.zeros(64, 1, 40, 60)
    image[:, :, 20, [18, 42]] = 1
    turned = RandomAffine(0, 30, 0)(image, generator())
    x = torch.arange(60.0).expand(40, 60)
    y = torch.arange(40.0)[:, None].expand(40, 60)
    turns = []
    for one in turned[:, 0]:
        ends = [one * (x < 30), one * (x >= 30)]
        (x0, y0), (x1, y1) = (((e * x).sum() / e.sum(), (e * y).sum() / e.sum()) for e in ends)
        assert torch.hypot(x1 - x0, y1 - y0) == pytest.approx(24, abs=0.8)
        turns.append(float(torch.rad2deg(torch.atan2(y1 - y0, x1 - x0))))
    assert 20 < max(turns) < 32
    assert -32 < min(turns) < -20


def test_affine_stays_within_its_shift():
    image = torch.zeros(200, 1, 21, 21)
    image[:, :, 10, 10] = 1
    moved = RandomAffine(3, 0, 0)(image, generator())[:, 0]
    columns = (moved.sum(1) * torch.arange(21.0)).sum(1) / moved.sum((1, 2)) - 10
    assert columns.abs().max() <= 3.01
    assert columns.max() > 2.5
    assert columns.min() < -2.5


@pytest.mark.parametrize("change", [RandomShift(1, mirror=True), RandomAffine(3, 10, 0.1)])
def test_the_same_generator_state_gives_the_same_batch(change):
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(change(images, generator(4)), change(images, generator(4)))
    assert not torch.equal(change(images, generator(4)), change(images, generator(5)))


def test_within_class_share():
    assert within_class_share(torch.tensor([1, 0, 1, 1, 0, 1])).tolist() == [0, 0, 0.25, 0.5, 0.5, 0.75]


def test_digits():
    digits = load_data("digits")
    assert (digits.input_shape, digits.class_names) == ((1, 8, 8), tuple("0123456789"))
    parts = (digits.train, digits.validation, digits.test)
    assert sum(map(len, parts)) == 1797
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        assert part.targets.bincount(minlength=10).tolist() == pytest.approx([179.7 * share] * 10, abs=4)
    batch = digits.train.batch(torch.arange(len(digits.train)))
    assert batch.dtype == torch.float32
    assert batch.shape[1:] == (1, 8, 8)
    assert float(batch.mean()) == pytest.approx(0, abs=1e-5)
    assert float(batch.std()) == pytest.approx(1, abs=1e-3)


def test_digits_are_the_same_every_time():
    first, second = load_data("digits"), load_data("digits")
    assert torch.equal(first.test.batch(torch.arange(5)), second.test.batch(torch.arange(5)))


def cifar_arrays(each=10):
    labels = np.tile(np.arange(100, dtype=np.uint8), each)
    pixels = np.zeros((len(labels), 3072), np.uint8)
    pixels[:, :1024] = np.arange(len(labels))[:, None] // 100  # red: which image of its class
    pixels[:, 2048] = labels
    return pixels, labels


def write_binary(folder, each=10):
    folder.mkdir(exist_ok=True)
    pixels, labels = cifar_arrays(each)
    records = np.concatenate([np.full((len(labels), 1), 7, np.uint8), labels[:, None], pixels], axis=1)
    (folder / "train.bin").write_bytes(records.tobytes())
    (folder / "test.bin").write_bytes(records[:200].tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(f"class{i}" for i in range(100)) + "\n")


def write_python(folder, each=10):
    folder.mkdir(exist_ok=True)
    pixels, labels = cifar_arrays(each)
    for name, count in (("train", len(labels)), ("test", 200)):
        content = {b"data": pixels[:count], b"fine_labels": labels[:count].tolist(), b"coarse_labels": [0] * count}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {b"fine_label_names": [f"class{i}".encode() for i in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))


@pytest.mark.parametrize("write", [write_binary, write_python])
@pytest.mark.parametrize("inside", ["", "cifar-100-binary"])
def test_cifar100(tmp_path, write, inside):
    write(tmp_path / inside)
    data = load_data(f"cifar100:{tmp_path}")
    assert (len(data.train), len(data.validation), len(data.test)) == (900, 100, 200)
    assert data.class_names[42] == "class42"
    assert data.validation.targets.tolist() == list(range(100))
    # The validation image of each class is its last (red 9), and red is the first channel.
    assert data.validation.pixels[:, 0].unique().tolist() == [9]
    assert data.train.pixels[:, 0].unique().tolist() == list(range(9))
    assert data.test.pixels[:, 2, 0, 0].tolist() == list(range(100)) * 2
    assert data.train.batch(torch.arange(4), generator()).shape == (4, 3, 32, 32)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_cifar100_does_not_run_pickled_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_python(tmp_path)
    (tmp_path / "train").write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(PruneError, match=r"train: not a pickle of CIFAR-100: asks for \w+\.mkdir"):
        load_data(f"cifar100:{tmp_path}")
    assert not (tmp_path / "evil").exists()


def test_cifar100_errors(tmp_path):
    with pytest.raises(PruneError, match=r"must hold train\.bin"):
        load_data(f"cifar100:{tmp_path / 'nowhere'}")
    write_binary(tmp_path)
    (tmp_path / "test.bin").write_bytes(b"x" * 100)
    with pytest.raises(PruneError, match=r"test\.bin: 100 bytes"):
        load_data(f"cifar100:{tmp_path}")
    (tmp_path / "test.bin").unlink()
    with pytest.raises(PruneError, match=r"test\.bin: cannot read"):
        load_data(f"cifar100:{tmp_path}")
    write_binary(tmp_path)
    (tmp_path / "test.bin").write_bytes(bytes([0, 100]) + bytes(3072))
    with pytest.raises(PruneError, match="label 100"):
        load_data(f"cifar100:{tmp_path}")
    write_binary(tmp_path)
    (tmp_path / "fine_label_names.txt").write_text("one two")
    with pytest.raises(PruneError, match="2 names, must be 100"):
        load_data(f"cifar100:{tmp_path}")


@pytest.fixture
def pictures(tmp_path):
    for part, count in (("train", 10), ("val", 2)):
        for number, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(count):
                color = (250 * number, 10 * index, 0)
                Image.new("RGB", (300 + 20 * index, 280), color).save(tmp_path / part / name / f"{index}.png")
    return tmp_path


def test_image_folder(pictures):
    data = load_data(f"imagefolder:{pictures}")
    assert data.class_names == ("cat", "dog")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 4)
    assert data.validation.targets.tolist() == [0, 1]
    batch = data.validation.batch(torch.tensor([1]))
    assert batch.shape == (1, 3, 224, 224)
    # The last dog: green 90, by ImageNet's mean and deviation.
    expected = torch.tensor([(250 / 255 - 0.485) / 0.229, (90 / 255 - 0.456) / 0.224, -0.406 / 0.225])
    torch.testing.assert_close(batch[0, :, 100, 100], expected)
    dogs = data.train.subset([1], 3)
    assert [path.name for path in dogs.paths] == ["0.png", "1.png", "2.png"]
    assert dogs.targets.tolist() == [0, 0, 0]


def test_image_folder_shows_the_middle_and_augments_with_a_generator(pictures):
    # Left half black, right half white, 512x256: the middle 224 of 256 has its edge in column 112.
    stripes = np.zeros((256, 512, 3), np.uint8)
    stripes[:, 256:] = 255
    Image.fromarray(stripes).save(pictures / "val" / "cat" / "0.png")
    test = load_data(f"imagefolder:{pictures}").test
    row = test.batch(torch.tensor([0]))[0, 0, 0]
    assert row[:111].unique().numel() == row[113:].unique().numel() == 1
    assert row[0] < 0 < row[-1]
    repeated = torch.zeros(8, dtype=torch.int64)
    first, again = test.batch(repeated, generator(1)), test.batch(repeated, generator(1))
    assert torch.equal(first, again)
    assert len({tuple(one[0, 0].tolist()) for one in first}) > 3


def test_image_folder_errors(pictures):
    (pictures / "val" / "dog" / "0.png").write_bytes(b"no picture")
    data = load_data(f"imagefolder:{pictures}")
    with pytest.raises(PruneError, match=r"dog.0\.png: not a picture"):
        data.test.batch(torch.tensor([2]))
    (pictures / "train" / "dog" / "9.png").unlink()
    with pytest.raises(PruneError, match="dog: must hold 10 pictures"):
        load_data(f"imagefolder:{pictures}")
    (pictures / "train" / "emu").mkdir()
    with pytest.raises(PruneError, match="class emu must be in both"):
        load_data(f"imagefolder:{pictures}")
    with pytest.raises(PruneError, match=r"nowhere: must be DIR/train/CLASS/\* and DIR/val/CLASS/\*; has no train"):
        load_data(f"imagefolder:{pictures / 'nowhere'}")


@pytest.mark.parametrize("text", ["digits", "noise:2x3x4x4", "imagefolder", "cifar100"])
def test_preprocessing_says_how_pixels_become_the_input(text, pictures, tmp_path):
    if text == "cifar100":
        write_binary(tmp_path / "cifar")
        text = f"cifar100:{tmp_path / 'cifar'}"
    data = load_data(f"imagefolder:{pictures}" if text == "imagefolder" else text)
    said = data.test.preprocessing()
    assert json.loads(json.dumps(said)) == said == data.test.subset([1]).preprocessing() == data.train.preprocessing()
    images = data.test.batch(torch.arange(2))
    if text.startswith("noise"):
        assert said == {"input": "as they are"}
        return
    assert said["input"] == "(pixels - mean) / std"
    assert said["channels"] == images.shape[1] == len(said["mean"]) == len(said["std"])
    if text == "imagefolder":
        with Image.open(data.test.paths[0]) as picture:
            scale = said["resize"] / min(picture.size)
            resized = picture.resize([round(side * scale) for side in picture.size], Image.Resampling.BILINEAR)
        left, top = ((side - said["crop"]) // 2 for side in resized.size)
        middle = resized.crop((left, top, left + said["crop"], top + said["crop"]))
        raw = torch.from_numpy(np.array(middle)).permute(2, 0, 1)[None] / 255
        images = images[:1]
    else:
        raw = data.test.pixels[:2].float()
    assert (said["pixels"][0], raw.max() <= said["pixels"][1]) == (0, True)
    mean, std = (torch.tensor(said[name]).view(-1, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(images, (raw - mean) / std)


def test_largest_pixels_are_those_of_the_data():
    digits = load_data("digits")
    assert digits.train.preprocessing()["pixels"] == [0, 16] == [0, int(digits.train.pixels.max())]
    assert toy().preprocessing()["pixels"] == [0, 255]


def test_the_commands_help_lists_every_data_set():
    option = click.command()(data_option(lambda data: None)).params[0]
    assert option.help == f"{DATA_HELP}."


def test_module_factory(tmp_path, monkeypatch):
    (tmp_path / "own_data.py").write_text(
        "from crispsim.prune.data import load_data\n"
        "def digits(): return load_data('digits')\n"
        "def nothing(): return None\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(load_data("own_data:digits"), Splits)
    for text, message in (
        ("own_data:nothing", "must return crispsim.prune.data.Splits, not NoneType"),
        ("own_data:number", "must be a function, not int"),
        ("own_data:missing", "has no missing"),
        ("not_there_at_all:f", "cannot import not_there_at_all"),
    ):
        with pytest.raises(PruneError, match=message):
            load_data(text)


@pytest.mark.parametrize(
    "text", ["", "digit", "digits:", "digits:x", "cifar100", "imagefolder:", "icons:", "a b:c", ":f"]
)
def test_unknown_texts_are_refused_in_one_line(text):
    with pytest.raises(PruneError, match="data ") as error:
        load_data(text)
    assert "\n" not in str(error.value)


def test_splits_check_themselves():
    images = toy()
    given = {"name": "toy", "input_shape": (1, 2, 2), "train": images, "validation": images, "test": images}
    Splits(class_names=("a", "b", "c"), **given)
    with pytest.raises(PruneError, match="from 0 to 1"):
        Splits(class_names=("a", "b"), **given)
    with pytest.raises(PruneError, match="different names"):
        Splits(class_names=("a", "b", "a"), **given)
    nothing = TensorImages(images.pixels[:0], images.targets[:0], mean=[0], std=[1])
    with pytest.raises(PruneError, match="split test has no images"):
        Splits(class_names=("a", "b", "c"), **{**given, "test": nothing})
