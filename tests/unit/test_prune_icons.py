import hashlib
import json
import tarfile
from importlib.metadata import version

import numpy as np
import pytest
import torch

from crispsim.prune.data import load_data
from crispsim.prune.data.icons import build, load
from crispsim.prune.data.icons.build import build_icons
from crispsim.prune.data.icons.built_file import BUILDER_VERSION, read_icons, write_icons
from crispsim.prune.data.icons.concepts import concept_of, is_brand_set, read_concepts
from crispsim.prune.data.icons.load import to_splits
from crispsim.prune.data.icons.rendering import is_blank, render, svg_of
from crispsim.prune.data.icons.split import check_every_concept, families, split_families
from crispsim.prune.errors import PruneError

CONCEPTS = ("bar", "disc", "disc-open")
LEAST = (1, 1, 1)


def test_concepts_of_the_file():
    concepts = read_concepts()
    assert len(concepts) == 100
    assert sum(concepts.values()) == 19402
    assert (min(concepts.values()), max(concepts.values())) == (106, 380)
    assert all(concept_of(concept, concepts) == concept for concept in concepts)


@pytest.mark.parametrize(
    ("name", "concept"),
    [
        ("home", "home"),
        ("home2", "home"),
        ("home-2-fill", "home"),
        ("home-outline-rounded", "home"),
        ("folder-open-16-filled", "folder-open"),
        ("folder-16", "folder"),
        ("box", "box"),
        ("box-box", "box"),
        ("credit-card-1", "credit-card"),
        ("wifi-off", None),
        ("home-add", None),
        ("outline-home", None),
        ("outline", None),
        ("homely", None),
        ("2", None),
        ("", None),
    ],
)
def test_concept_of_a_name(name, concept):
    assert concept_of(name, read_concepts()) == concept


def test_brand_sets():
    assert is_brand_set("fa6-brands", {"category": "Archive / Unmaintained"})
    assert is_brand_set("bxl", {"category": "Logos"})
    assert not is_brand_set("bxs", {})


def rectangle(x, y, width, height, color="currentColor"):
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{color}"/>'


def test_rendering_is_ink_on_paper():
    ink = render(svg_of({"body": rectangle(0, 0, 16, 8)}, {}))
    assert ink.dtype == np.uint8
    assert (ink[:16] == 255).all()
    assert (ink[16:] == 0).all()
    gray = render(svg_of({"body": rectangle(0, 0, 16, 16, "#808080")}, {}))
    assert (gray == 127).all()
    assert is_blank(gray)


def test_rendering_centres_the_icons_own_box():
    # A 20x10 icon at (5, 5) of a set of 40: the box fills the middle 16 rows of 32.
    icon = {"body": rectangle(5, 5, 20, 10), "left": 5, "top": 5, "width": 20, "height": 10}
    ink = render(svg_of(icon, {"width": 40, "height": 40}))
    assert (ink[8:24] == 255).all()
    assert (ink[:8] == 0).all()
    assert (ink[24:] == 0).all()


def test_unreadable_drawings_give_none():
    assert render("<svg") is None
    assert render(svg_of({"body": "<g>"}, {})) is None


def test_families():
    def own(name, count):
        return {f"{name}{index}".encode() for index in range(count)}

    drawings = {
        "fa": own("a", 3),
        "fa6-solid": own("b", 3),
        "fad": own("c", 3),
        "mdi-light": own("d", 3),
        "zmdi": own("e", 3),
        "parent": own("p", 100),
        "fork": own("p", 10) | own("f", 50),
        "cousin": own("p", 9) | own("k", 1),
        "large": {f"p{index}".encode() for index in range(50, 64)} | own("l", 100),
    }
    family = families({name: frozenset(drawn) for name, drawn in drawings.items()})
    grouped = {}
    for name, root in family.items():
        grouped.setdefault(root, set()).add(name)
    assert {frozenset(group) for group in grouped.values()} == {
        frozenset(group)
        for group in ({"fa", "fa6-solid"}, {"fad"}, {"mdi-light", "zmdi"}, {"parent", "fork"}, {"cousin"}, {"large"})
    }


def test_split_is_near_its_aim_for_every_concept():
    numbers = np.random.default_rng(0)
    counts = numbers.integers(0, 12, (120, 20))
    names = [f"family{index}" for index in range(120)]
    parts = split_families(counts, names)
    share = np.stack([counts[parts == part].sum(0) for part in range(3)]) / counts.sum(0)
    assert np.abs(share - np.array([[0.7], [0.1], [0.2]])).max() < 0.05
    # The order of the families does not matter.
    order = numbers.permutation(120)
    again = split_families(counts[order], [names[index] for index in order])
    assert (again == parts[order]).all()


def test_split_ends_where_no_single_move_helps():
    counts = np.random.default_rng(1).integers(0, 9, (9, 2))
    parts = split_families(counts, [str(index) for index in range(9)])

    def distance(parts):
        held = np.stack([counts[parts == part].sum(0) for part in range(3)])
        return float((((held - np.outer([0.7, 0.1, 0.2], counts.sum(0))) ** 2) / [[0.7], [0.1], [0.2]]).sum())

    for family in range(9):
        for part in range(3):
            moved = parts.copy()
            moved[family] = part
            assert distance(moved) >= distance(parts) - 1e-9


def test_a_concept_that_a_part_lacks_is_refused():
    with pytest.raises(PruneError, match="concept b has 1 drawings in split test, must be at least 2"):
        check_every_concept(np.array([[3, 3], [2, 2], [2, 1]]), np.array([0, 1, 2]), ["a", "b"], (3, 2, 2))


def icon_set(number, extra=None, **about):
    """A bar, a disc and an open disc, a little different in every set."""
    size = 8 + number % 8
    icons = {
        "bar-outline": {"body": rectangle(1, 2 + number // 8, 14, size / 2)},
        "disc": {"body": f'<circle cx="8" cy="{6 + number % 5}" r="{3 + number / 8}"/>'},
        "disc-open-2": {"body": f'<circle cx="8" cy="8" r="{2 + number / 6}" fill="none" stroke="currentColor"/>'},
        "other": {"body": rectangle(0, 0, 3, 3)},
        **(extra or {}),
    }
    return {"info": about, "icons": icons, "width": 16, "height": 16}


def package_files():
    files = {f"json/set{chr(97 + number)}.json": icon_set(number) for number in range(12)}
    # A fork repeats a drawing; a brand set does not count; neither do damaged and blank drawings.
    files["json/setm.json"] = icon_set(
        12,
        {
            "bar": {"body": rectangle(1, 2, 14, 4)},  # that of seta
            "bar-2": {"body": "<g"},
            "bar-3": {"body": "<g/>"},
            "bar-4": {},
            "bar-5": 5,
            "bar-6": {"body": rectangle(0, 0, 2, 2)},
            "disc-6": {"body": rectangle(0, 0, 2, 2)},  # the same drawing of another concept
        },
    )
    files["json/logos.json"] = icon_set(20, category="Logos")
    return {
        "package.json": {"name": "@iconify/json", "version": "9.8.7"},
        "collections.json": {},
        **files,
    }


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "json-package"
    for name, content in package_files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content))
    return root


@pytest.fixture
def archive(tmp_path, folder):
    with tarfile.open(tmp_path / "iconify.tgz", "w:gz") as tar:
        for path in sorted(folder.rglob("*.json"), reverse=True):  # npm does not sort
            tar.add(path, f"package/{path.relative_to(folder).as_posix()}")
    return tmp_path / "iconify.tgz"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(build, "read_concepts", lambda: dict.fromkeys(CONCEPTS, 1))
    monkeypatch.setattr(build_icons, "__kwdefaults__", {"concepts": None, "least": LEAST, "progress": None})
    return tmp_path / "cache"


def test_build(folder):
    told = []
    built = build_icons(folder, concepts=CONCEPTS, least=LEAST, progress=lambda *args: told.append(args))
    about = built.about
    assert about["left_out"] == {"unreadable": 3, "blank": 1, "repeated": 1, "ambiguous": 2}
    assert len(built.images) == 13 * 3
    assert np.bincount(built.labels).tolist() == [13, 13, 13]
    assert len({image.tobytes() for image in built.images}) == len(built.images)
    assert about["sets"] == [f"set{letter}" for letter in "abcdefghijklm"]
    for number in range(13):
        assert len(set(built.split[built.sets == number])) == 1
    assert np.bincount(built.split).tolist() == pytest.approx([27, 4, 8], abs=2)
    assert told[-1] == ("rendering icons", 14, 14)
    whole = b"".join(array.tobytes() for array in (built.images, built.labels, built.split))
    assert about["sha256"] == hashlib.sha256(whole).hexdigest()
    first = np.flatnonzero((built.sets == 0) & (built.labels == 0))[0]
    assert (built.images[first][4:12, 2:30] == 255).all()


def test_archive_and_folder_give_the_same_bytes(folder, archive):
    one = build_icons(folder, concepts=CONCEPTS, least=LEAST)
    other = build_icons(archive, concepts=CONCEPTS, least=LEAST)
    assert one.about == other.about
    assert (one.images == other.images).all()


def test_too_few_sets_are_refused(folder):
    with pytest.raises(PruneError, match="too few icon sets"):
        build_icons(folder, concepts=CONCEPTS, least=(20, 3, 5))
    with pytest.raises(PruneError, match="concept star has 0 drawings in split train"):
        build_icons(folder, concepts=(*CONCEPTS, "star"), least=LEAST)


def test_load_builds_once_and_then_reads_the_cache(archive, cache, monkeypatch):
    with pytest.raises(PruneError, match=r"npm pack @iconify/json.*pip install resvg-py.*--data icons:iconify"):
        load_data("icons")
    first = load_data(f"icons:{archive}")
    assert [path.name for path in cache.iterdir()] == [f"icons-9.8.7-resvg{version('resvg-py')}-{BUILDER_VERSION}.npz"]

    def refuse(*args, **kwargs):
        raise AssertionError("built again")

    monkeypatch.setattr(load, "build_icons", refuse)
    for again in (load_data(f"icons:{archive}"), load_data("icons"), load_data(f"icons:{next(cache.iterdir())}")):
        assert again.note == first.note
        assert torch.equal(again.test.targets, first.test.targets)
    assert "easier than CIFAR-100" in first.note
    assert first.class_names == CONCEPTS
    assert first.input_shape == (1, 32, 32)
    assert first.test.preprocessing()["pixels_are"] == "ink: 0 paper, 255 black"
    batch = first.train.batch(torch.arange(len(first.train)))
    assert float(batch.mean()) == pytest.approx(0, abs=1e-4)
    assert float(batch.std()) == pytest.approx(1, abs=1e-3)


def test_another_renderer_builds_anew(archive, cache, monkeypatch):
    load_data(f"icons:{archive}")
    built = next(cache.iterdir())
    # As files were named before the renderer was in the name: of use while the renderer it records is the one here.
    older = built.rename(cache / f"icons-9.8.7-{BUILDER_VERSION}.npz")
    calls = []

    def noted(*args, **kwargs):
        calls.append(args)
        return build_icons(*args, **{**kwargs, "concepts": CONCEPTS, "least": LEAST})

    monkeypatch.setattr(load, "build_icons", noted)
    first = load_data(f"icons:{archive}")
    assert (calls, list(cache.iterdir())) == ([], [older])
    monkeypatch.setattr(load, "resvg_version", lambda: "unknown")
    assert load_data(f"icons:{archive}").origin == first.origin
    assert not calls, "nothing here could render: what there is of this package is taken"
    monkeypatch.setattr(load, "resvg_version", lambda: "9.9")
    load_data(f"icons:{archive}")
    assert len(calls) == 1
    assert sorted(cache.iterdir()) == [older, cache / f"icons-9.8.7-resvg9.9-{BUILDER_VERSION}.npz"]
    load_data(f"icons:{archive}")
    assert len(calls) == 1


def test_no_rendering_is_in_two_splits(folder):
    splits = to_splits(build_icons(folder, concepts=CONCEPTS, least=LEAST))
    parts = [{one.numpy().tobytes() for one in part.pixels} for part in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 39


def test_a_failed_write_leaves_nothing_behind(folder, tmp_path, monkeypatch):
    built = build_icons(folder, concepts=CONCEPTS, least=LEAST)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(PruneError, match="cannot write: No space left on device"):
        write_icons(built, tmp_path / "cache" / "icons.npz")
    assert list((tmp_path / "cache").iterdir()) == []


def test_built_files_are_checked(folder, tmp_path):
    built = build_icons(folder, concepts=CONCEPTS, least=LEAST)
    path = tmp_path / "icons.npz"
    write_icons(built, path)
    assert read_icons(path).about == built.about
    with np.load(path) as stored:
        arrays = dict(stored)
    changed = {**arrays, "split": np.zeros_like(arrays["split"])}
    np.savez(path, **changed)
    with pytest.raises(PruneError, match="damaged, its SHA-256 differs"):
        read_icons(path)
    older = json.dumps({**built.about, "builder": 0})
    np.savez(path, **{**arrays, "about": np.array(older)})
    with pytest.raises(PruneError, match="made by builder 0, must be"):
        read_icons(path)
    np.savez(path, **{**arrays, "sets": arrays["sets"][:3]})
    with pytest.raises(PruneError, match="arrays do not fit together"):
        read_icons(path)
    np.savez(path, images=arrays["images"])
    with pytest.raises(PruneError, match="not a built icon set"):
        read_icons(path)
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(PruneError, match="not a built icon set"):
        read_icons(path)


def test_wrong_packages_are_refused(tmp_path, folder):
    (tmp_path / "text.tgz").write_text("nothing")
    for text, message in (
        (tmp_path / "missing.tgz", "cannot read: No such file"),
        (tmp_path / "missing.npz", "cannot read: No such file"),
        (tmp_path / "text.tgz", "must be a .tgz, a folder or a built .npz"),
        (tmp_path, "cannot read: No such file"),
    ):
        with pytest.raises(PruneError, match=message) as error:
            load_data(f"icons:{text}")
        assert "\n" not in str(error.value)
    for about in ({"name": "left-pad", "version": "1.0"}, {"name": "@iconify/json", "version": "../../1"}, []):
        (folder / "package.json").write_text(json.dumps(about))
        with pytest.raises(PruneError, match=r"must be the npm package @iconify/json|must hold an object"):
            load_data(f"icons:{folder}")


def test_damaged_sets_are_refused(folder):
    (folder / "json" / "seta.json").write_text("{")
    with pytest.raises(PruneError, match=r"json/seta\.json: not JSON"):
        build_icons(folder, concepts=CONCEPTS, least=LEAST)
    (folder / "json" / "seta.json").write_text("{}")
    with pytest.raises(PruneError, match="must hold icons"):
        build_icons(folder, concepts=CONCEPTS, least=LEAST)
