"""The user's classes: given, drawn, or the most frequent of a history."""

import pytest

from crispsim.prune import PruneError
from crispsim.prune.training import choose_classes

NAMES = ("ant", "bee", "cat", "dog", "eel")


@pytest.mark.parametrize("given", ["3,bee, 0", "dog,1,ant", [3, "bee", 0], (3, 1, 0), "index:3,name:bee,ant"])
def test_given_classes_keep_their_order(given):
    assert choose_classes(NAMES, given=given) == (3, 1, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("1,cow", "'cow': is no class of the data; they are ant, bee, cat, dog, eel"),
        ("1,5", "'5': an index must be 0 to 4"),
        ([1, -1], "-1: an index must be 0 to 4"),
        ("1,-1", "'-1': is no class"),
        ("1,,2", "'': is no class"),
        ("1,bee", "'bee': is given twice"),
        ("2", "must be at least 2"),
        ("", "is no class"),
        ([1, True], "True: must be an index or a name"),
        ([1, 2.0], "2.0: must be an index or a name"),
        ("1,index:x", "'index:x': an index must be 0 to 4"),
        ("1," + "9" * 5000, "is no class"),
    ],
)
def test_bad_classes_are_refused_in_a_line(given, said):
    with pytest.raises(PruneError) as error:
        choose_classes(NAMES, given=given)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_names_that_are_numbers():
    folders = ("0", "1", "10", "2")  # the order of folders' names
    assert choose_classes(folders, given="0,1") == (0, 1)
    assert choose_classes(folders, given="10,0") == (2, 0)
    with pytest.raises(PruneError, match="'2': is the name of class 3 and the index of class '10'; write name:2"):
        choose_classes(folders, given="0,2")
    assert choose_classes(folders, given="name:2,index:2") == (3, 2)
    assert choose_classes(("index:1", "x"), given="x,index:1") == (1, 0), "a name, however odd, is itself"


def test_a_draw_is_sorted_repeatable_and_even():
    assert choose_classes(NAMES, num=5, seed=9) == (0, 1, 2, 3, 4)
    drawn = [choose_classes(NAMES, num=2, seed=seed) for seed in range(500)]
    assert drawn == [choose_classes(NAMES, num=2, seed=seed) for seed in range(500)]
    assert all(one < other for one, other in drawn)
    # Each of the ten pairs: 50 expected, standard deviation sqrt(500 * 0.1 * 0.9) = 6.7.
    assert len(set(drawn)) == 10
    assert all(20 < drawn.count(pair) < 80 for pair in set(drawn))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "say how many"),
        ({"num": 1}, "1: must be 2 to 5"),
        ({"num": 6}, "6: must be 2 to 5"),
        ({"num": True}, "True: must be"),
        ({"num": 2, "seed": -1}, "seed -1"),
        ({"num": 2, "given": "0,1"}, "not both"),
        ({"num": 2, "window": 3}, "window 3: is of a class history"),
    ],
)
def test_bad_requests(options, said):
    with pytest.raises(PruneError, match=said):
        choose_classes(NAMES, **options)


def history(tmp_path, text):
    path = tmp_path / "met.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_history_takes_the_most_frequent_of_the_window(tmp_path):
    path = history(tmp_path, "ant\nant\nant\n\n# a comment\ncat  # at noon\n 1\nbee\ndog\n2\n")
    # Last four entries: bee, bee, dog, cat. Bee twice; cat and dog once, cat was met last.
    assert choose_classes(NAMES, history=path, window=4, num=2) == (1, 2)
    assert choose_classes(NAMES, history=path, window=4, num=3) == (1, 2, 3)
    # All eight: ant 3; cat 2 and bee 2, cat met last; dog 1.
    assert choose_classes(NAMES, history=path, num=4) == (0, 2, 1, 3)
    assert choose_classes(NAMES, history=path, window=10**9, num=4) == (0, 2, 1, 3)


def test_history_with_a_byte_order_mark_and_names_with_a_hash(tmp_path):
    path = history(tmp_path, "\ufeffC #\n#1\nC #\r\n")
    assert choose_classes(("C #", "#1"), history=path, num=2) == (0, 1)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("ant\n\ncow\n", {}, "met.txt, line 3: class 'cow': is no class of the data"),
        ("ant\n7\n", {}, "met.txt, line 2: class '7': an index must be 0 to 4"),
        ("ant\nant\n", {}, "met.txt: the file must hold at least 2 different classes, holds 1"),
        ("bee\nant\nant\n", {"window": 2}, "its last 2 entries must hold at least 2 different classes, holds 1"),
        ("", {}, "holds 0"),
        ("ant\nbee\n", {"window": 0}, "window 0: must be"),
    ],
)
def test_bad_histories(tmp_path, text, options, said):
    with pytest.raises(PruneError) as error:
        choose_classes(NAMES, history=history(tmp_path, text), num=2, **options)
    assert said in str(error.value)


def test_histories_that_cannot_be_read(tmp_path):
    with pytest.raises(PruneError, match=r"none.txt: cannot be read: No such file"):
        choose_classes(NAMES, history=tmp_path / "none.txt", num=2)
    with pytest.raises(PruneError, match="cannot be read: Is a directory"):
        choose_classes(NAMES, history=tmp_path, num=2)
    (tmp_path / "binary").write_bytes(b"ant\n\xff\xfe\n")
    with pytest.raises(PruneError, match="must be text in UTF-8"):
        choose_classes(NAMES, history=tmp_path / "binary", num=2)
