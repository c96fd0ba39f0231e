"""Interpolated SRAM figures: between the corners', monotone in a cell, the same either way, exact at the corners."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispsim.sim.energy import sram
from crispsim.sim.energy.sram import Figures, GridPoint, SramShape, Technology, find_sram, interpolate

GRIDS = sorted(sram.grids().items(), key=str)
KEYS = [key for key, points in GRIDS if len(points) > 4]

positive = st.floats(1e-9, 1e9)
corners = st.tuples(positive, positive, positive, positive)


def point(value: float) -> GridPoint:
    return GridPoint(Figures(value, value, value, value), 1.0, 1.0)


@st.composite
def places(draw: st.DrawFn) -> tuple[tuple[Technology, sram.Ports, int], int, int]:
    """A process, ports, banks, and a size and a word width within the range of the table's."""
    key = draw(st.sampled_from(KEYS))
    points = sram.grids()[key]
    sizes, words = {size for size, _ in points}, {word for _, word in points}
    size = draw(st.one_of(st.sampled_from(sorted(sizes)), st.integers(min(sizes), max(sizes))))
    word = draw(st.one_of(st.sampled_from(sorted(words)), st.integers(min(words), max(words))))
    return key, size, word


def naive(points: sram.Grid, sizes: tuple[int, ...], words: tuple[int, ...], size: int, word: int) -> list[float]:
    """Along words first, then along sizes; each weight a product."""

    def weights(value: int, ends: tuple[int, ...]) -> list[tuple[int, float]]:
        if len(ends) == 1:
            return [(ends[0], 1.0)]
        low, high = ends
        whole = math.log2(high) - math.log2(low)
        return [
            (low, (math.log2(high) - math.log2(value)) / whole),
            (high, (math.log2(value) - math.log2(low)) / whole),
        ]

    return [
        math.prod(
            math.prod(points[s, w].figures[index] ** (ws * ww) for w, ww in weights(word, words))
            for s, ws in weights(size, sizes)
        )
        for index in range(4)
    ]


@given(places())
def test_interpolation_is_within_its_corners(place: tuple[tuple[Technology, sram.Ports, int], int, int]) -> None:
    key, size, word = place
    points = sram.grids()[key]
    found = interpolate(points, size, word)
    if found is None:
        return
    assert found.sizes[0] <= size <= found.sizes[-1]
    assert found.words[0] <= word <= found.words[-1]
    assert (len(found.sizes) == 1) <= (found.sizes[0] == size)
    assert (len(found.words) == 1) <= (found.words[0] == word)
    at_corners = [points[s, w].figures for s in found.sizes for w in found.words]
    for value, known in zip(found.figures, zip(*at_corners, strict=True), strict=True):
        assert min(known) <= value <= max(known)
    assert list(found.figures) == pytest.approx(naive(points, found.sizes, found.words, size, word))


@given(places())
def test_the_rectangle_is_the_smallest(place: tuple[tuple[Technology, sram.Ports, int], int, int]) -> None:
    """By trying all pairs of sizes and of words that the grid has."""
    key, size, word = place
    points = {at: point for at, point in sram.grids()[key].items() if at != (size, word)}
    found = interpolate(points, size, word)

    def pairs(values: set[int], value: int) -> list[tuple[int, int]]:
        return [(low, high) for low in values if low < value for high in values if high > value]

    sizes, words = pairs({s for s, _ in points}, size), pairs({w for _, w in points}, word)
    at_word = [math.log(b / a) for a, b in sizes if (a, word) in points and (b, word) in points]
    at_size = [math.log(b / a) for a, b in words if (size, a) in points and (size, b) in points]
    both = [
        math.log(b / a) * math.log(d / c)
        for a, b in sizes
        for c, d in words
        if all(corner in points for corner in ((a, c), (a, d), (b, c), (b, d)))
    ]
    if found is None:
        assert not (at_word or at_size or both)
    elif at_word or at_size:
        (ends,) = (ends for ends in (found.sizes, found.words) if len(ends) == 2)
        assert math.log(ends[1] / ends[0]) == pytest.approx(min(at_word + at_size))
    else:
        gaps = [math.log(ends[1] / ends[0]) for ends in (found.sizes, found.words)]
        assert math.prod(gaps) == pytest.approx(min(both))


@given(places())
def test_what_is_found_is_the_row_or_interpolated(place: tuple[tuple[Technology, sram.Ports, int], int, int]) -> None:
    (technology, ports, banks), size, word = place
    points = sram.grids()[technology, ports, banks]
    what = SramShape(size_bytes=size, word_bits=word, banks=banks, ports=ports)
    if (size, word) in points:
        found = find_sram(what, technology, live=False)
        assert Figures(found.read_pj, found.write_pj, found.leakage_mw, found.area_mm2) == points[size, word].figures
        assert (found.access_ns, found.cycle_ns, found.origin) == (*points[size, word][1:], "table")
    elif (between := interpolate(points, size, word)) is not None:
        found = find_sram(what, technology, live=False)
        assert Figures(found.read_pj, found.write_pj, found.leakage_mw, found.area_mm2) == between.figures
        assert (found.access_ns, found.cycle_ns, found.origin) == (None, None, "interpolated")
    else:
        with pytest.raises(sram.InputError) as caught:
            find_sram(what, technology, live=False, part="rf")
        assert caught.value.lines[0].startswith(f"rf: {what}, {technology}: ")


def cell(values: tuple[float, float, float, float]) -> dict[tuple[int, int], GridPoint]:
    return dict(zip([(8, 8), (8, 512), (512, 8), (512, 512)], map(point, values), strict=True))


def inside(points: sram.Grid, size: int, word: int) -> float:
    found = interpolate(points, size, word)
    assert found is not None
    return found.figures.read_pj


@given(corners, st.integers(8, 511), st.integers(9, 512))
def test_sizes_and_words_are_alike(values: tuple[float, float, float, float], size: int, word: int) -> None:
    points = cell(values)
    turned = {(word, size): known for (size, word), known in points.items()}
    if (size, word) not in points:
        assert inside(points, size, word) == pytest.approx(inside(turned, word, size))


@given(corners, st.sampled_from([16, 32, 64, 128, 256]), st.sampled_from([16, 32, 64, 128, 256]))
def test_up_and_down_are_alike(values: tuple[float, float, float, float], size: int, word: int) -> None:
    points = cell(values)
    mirrored = {(4096 // size, word): known for (size, word), known in points.items()}
    assert inside(points, size, word) == pytest.approx(inside(mirrored, 4096 // size, word))
    mirrored = {(size, 4096 // word): known for (size, word), known in points.items()}
    assert inside(points, size, word) == pytest.approx(inside(mirrored, size, 4096 // word))


@given(corners, st.integers(8, 512), st.integers(9, 511))
def test_monotone_along_either_side_of_a_cell(values: tuple[float, float, float, float], size: int, word: int) -> None:
    points = cell(values)
    for line in (
        [inside(points, size, other) for other in range(9, 512, 11)],
        [inside(points, other, word) for other in range(8, 513, 11)],
    ):
        steps = {a < b for a, b in pairwise(line) if not math.isclose(a, b, rel_tol=1e-12)}
        assert len(steps) <= 1


@given(corners, st.sampled_from([8, 512]), st.integers(9, 511))
def test_on_a_side_only_its_two_corners_count(values: tuple[float, float, float, float], side: int, word: int) -> None:
    points = cell(values)
    ends = [points[side, end].figures.read_pj for end in (8, 512)]
    share = math.log(word / 8) / math.log(64)
    assert inside(points, side, word) == pytest.approx(ends[0] ** (1 - share) * ends[1] ** share)
