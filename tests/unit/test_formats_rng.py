"""Random numbers: the known sequence, streams, bounds."""

import warnings

import numpy as np
import pytest

from crispsim.formats.errors import FormatError
from crispsim.formats.rng import high_below, low_below, random_word, stream_key
from tests import naive

pytestmark = pytest.mark.kernel


def test_the_published_sequence():
    # SplitMix64 from seed 1234567: the test vector of rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    key = np.uint64(1234567)
    assert [int(random_word(key, np.uint64(i))) for i in range(5)] == expected


@pytest.mark.parametrize("key", [0, 1, 2**63, 2**64 - 1])
def test_equals_its_twin_without_a_warning(key):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = [int(random_word(np.uint64(key), np.uint64(i))) for i in range(20)]
    assert words == naive.splitmix64(key, 20)


def test_a_stream_is_an_output_of_the_one_before():
    key = naive.splitmix64(42, 8)[7]
    assert int(stream_key(42, 7)) == key
    assert int(stream_key(42, 7, 3)) == naive.splitmix64(key, 4)[3]
    assert int(stream_key(42)) == 42


def test_streams_differ():
    names = [
        (seed, layer, group, use) for seed in range(4) for layer in range(4) for group in range(4) for use in (0, 1)
    ]
    assert len({int(stream_key(*name)) for name in names}) == len(names)


@pytest.mark.parametrize("numbers", [(-1,), (2**64,), (0, -5), (0, 1, 2**64)])
def test_numbers_out_of_range(numbers):
    with pytest.raises(FormatError, match=r"seed or name -?\d+: must be 0 to 2\^64 - 1"):
        stream_key(*numbers)


@pytest.mark.parametrize("bound", [1, 2, 3, 255, 4608])
def test_halves_stay_below_their_bound(bound):
    ends = [(0, 0), (2**32 - 1, bound - 1)]
    for half, expected in ends:
        assert high_below(np.uint64(half << 32), bound) == expected
        assert low_below(np.uint64(half), bound) == expected
        assert low_below(np.uint64(half << 32), bound) == 0
        assert high_below(np.uint64(half), bound) == 0
