"""The figures of a pruned network: bars are the table, whatever the number of layers and their names."""

import itertools
from dataclasses import replace
from xml.etree import ElementTree

import pandas as pd
import pytest

from crispsim.bench.figures import fine_tuning, sparsity
from crispsim.bench.figures.drawing import svg_of
from crispsim.bench.figures.figure_kind import read_table
from crispsim.sim import InputError
from tests.pruned_folders import HISTORY, LAYERS, ODD_NAME, epoch, layer, many_layers

# Weights that 2:4 leaves, worked out by hand: of rows of 16, 72 and 38 columns.
LEFT = {ODD_NAME: 16 * 8, "late": 16 * 36, "ragged": 16 * (9 * 2 + 2)}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A function that returns the matplotlib figure which a draw function makes."""
    figure_class = pytest.importorskip("matplotlib.figure").Figure

    def call(draw, table):
        caught = []
        monkeypatch.setattr(figure_class, "savefig", lambda self, *_, **__: caught.append(self))
        draw(table, tmp_path / "x.svg")
        (figure,) = caught
        return figure

    return call


def bars_of(axes, label):
    """Foot and top of each bar, by its place."""
    (found,) = [container for container in axes.containers if container.get_label() == label]
    return {round(bar.get_x() + bar.get_width() / 2): (bar.get_y(), bar.get_y() + bar.get_height()) for bar in found}


def test_two_tones_are_what_nm_and_blocks_removed(drawn):
    upper, _ = drawn(sparsity.draw, sparsity.collect(LAYERS)).axes
    floors = {place: 100 * (1 - LEFT[row.layer] / row.weights) for place, row in enumerate(LAYERS) if row.layer in LEFT}
    nm, plain = bars_of(upper, "by N:M"), bars_of(upper, "by N:M, layer without blocks")
    blocks = bars_of(upper, "by blocks, beyond N:M")
    assert (set(plain), set(nm), set(blocks)) == ({1}, {2, 3}, {2, 3})
    for place, (foot, top) in (plain | nm).items():
        assert (foot, top) == pytest.approx((0, floors[place]))
    for place, (foot, top) in blocks.items():
        assert (foot, top) == pytest.approx((floors[place], 100 * LAYERS[place].sparsity))
    assert blocks[3][0] == pytest.approx(blocks[3][1])  # no block of it was pruned
    lines = {line.get_label(): line for line in upper.lines}
    assert list(lines["dense"].get_xdata()) == [0, 4]
    (total,) = [line for label, line in lines.items() if label.startswith("prunable layers together")]
    assert total.get_label() == "prunable layers together, 65.1%"
    assert total.get_ydata()[0] == pytest.approx(100 * (1 - 704 / 2016))
    assert [text.get_text() for text in upper.texts] == ["2/5", "3/3"]


def test_the_second_panel_is_the_work(drawn):
    _, lower = drawn(sparsity.draw, sparsity.collect(LAYERS)).axes
    assert lower.get_ylabel() == "work of a layer (kMAC)"
    for label, name in (("dense", "macs_dense"), ("left", "macs_kept")):
        tops = {place: top for place, (_, top) in bars_of(lower, label).items()}
        assert tops == pytest.approx({place: getattr(row, name) / 1000 for place, row in enumerate(LAYERS)})
    dense, left = sum(row.macs_dense for row in LAYERS), sum(row.macs_kept for row in LAYERS)
    assert lower.get_title("left") == (
        f"MACs of each layer: {100 * left / dense:.1f}% of the network's {dense / 1000:.2f} kMAC are left"
    )


def test_it_says_the_totals():
    dense, left = (sum(getattr(row, name) for row in LAYERS[1:4]) for name in ("macs_dense", "macs_kept"))
    said = sparsity.says(sparsity.collect(LAYERS))
    assert said[0] == f"prunable layers (3): 65.08% of 2,016 weights removed, {left / dense:.2%} of {dense:,} MACs left"
    assert said[1].startswith("all layers (5): 61.42% of 2,136 weights removed, ")
    assert said[2] == (
        "most: late, 77.78%, 2 of 5 blocks of each block row left; all blocks are left in 1 of 2 layers that have any"
    )
    assert len(sparsity.says(sparsity.collect(LAYERS[:2]))) == 2


@pytest.mark.parametrize(("count", "named", "counted"), [(9, 9, True), (54, 54, True), (150, 50, False)])
def test_names_and_counts_do_not_overlap(drawn, count, named, counted):
    figure = drawn(sparsity.draw, sparsity.collect(many_layers(count)))
    figure.draw_without_rendering()
    upper, lower = figure.axes
    names = lower.get_xticklabels()
    assert len(names) == named
    assert len(upper.texts) == (2 * count // 3 if counted else 0)
    shown = [text.get_window_extent() for text in names]
    assert all(box.y0 >= figure.bbox.y0 and box.x0 >= figure.bbox.x0 for box in shown)
    if count > 9:  # aslant names' boxes overlap, the names do not
        assert all(one.x1 <= two.x0 + 1 for one, two in itertools.pairwise(shown))
    counts = [text.get_window_extent() for text in upper.texts]
    assert not any(one.overlaps(two) for one, two in itertools.pairwise(counts))
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"weights": 1153}, "row 4: weights 1153: must be groups x s x k"),
        ({"nm": "2-4"}, "row 4: pattern '2-4': expected N:M, such as 2:4"),
        ({"kept_weights": 577}, "row 4: kept_weights 577: 2:4 leaves 576"),
        ({"kept_blocks": 6}, "row 4: kept_blocks 6: there are 5 in each block row"),
        ({"macs_kept": 5000}, "row 4: macs_kept 5000: there are 2304"),
        ({"p": 10**400}, "row 4: p 1"),
        ({"p": 0}, "row 4, column p: '0': must be a number above 0"),
        ({"block": ""}, "row 4, column block: '': must not be empty"),
    ],
)
def test_tables_that_cannot_be_drawn(tmp_path, changes, problem):
    path = tmp_path / "table.csv"
    sparsity.collect([*LAYERS[:2], replace(LAYERS[2], **changes), *LAYERS[3:]]).to_csv(path, index=False)
    with pytest.raises(InputError) as caught:
        read_table(sparsity.FIGURE, path)
    (line,) = caught.value.lines
    assert line.startswith(f"{path}: {problem}")


def test_where_nothing_was_pruned_there_is_nothing_to_draw():
    assert sparsity.lacks(sparsity.collect([LAYERS[0], LAYERS[4]])) == ["every layer is dense: nothing was pruned"]


def test_blocks_without_nm_are_drawn_alone(drawn):
    only = layer("only", 16, 64, 512, nm="dense", block="16", blocks=(2, 4))
    upper, _ = drawn(sparsity.draw, sparsity.collect([only])).axes
    assert [container.get_label() for container in upper.containers] == ["by blocks, beyond N:M"]
    assert bars_of(upper, "by blocks, beyond N:M")[0] == pytest.approx((0, 50))


def test_the_course_of_training(drawn):
    accuracy, loss, sparse = drawn(fine_tuning.draw, pd.DataFrame(HISTORY)).axes
    lines = {line.get_label(): line for line in accuracy.lines}
    assert list(lines["validation images"].get_ydata()) == [100 * row["validation_accuracy"] for row in HISTORY]
    assert list(loss.lines[0].get_ydata()) == pytest.approx([row["loss"] for row in HISTORY], nan_ok=True)
    rules = [line.get_xdata()[0] for line in sparse.lines]
    assert rules == [2.5, 3.5]
    (steps,) = sparse.patches
    assert list(steps.get_data().values) == pytest.approx([0, 0, 100 / 3, 200 / 3])


@pytest.mark.parametrize("history", [[epoch(1, 5, 0.5)], [epoch(1, 0, float("inf")), epoch(2, 0, float("nan"))]])
def test_any_course_of_training_can_be_drawn(history):
    pytest.importorskip("matplotlib")
    ElementTree.fromstring(svg_of(fine_tuning.draw, pd.DataFrame(history)))


def test_odd_names_can_be_drawn():
    pytest.importorskip("matplotlib")
    names = ("$x_1$ <script>", "a--b & 层\x07", "x" * 90)
    odd = [replace(row, layer=name) for row, name in zip(LAYERS[1:4], names, strict=True)]
    ElementTree.fromstring(svg_of(sparsity.draw, sparsity.collect(odd)))
