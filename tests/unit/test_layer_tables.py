"""Every dialect, oddity and defect of a layer table that the interface names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crispsim.sim.errors import InputError
from crispsim.sim.layer import Layer
from crispsim.sim.layer_csv import read_layers, write_layers

HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"


class Table:
    """A file in a temporary folder, and what was noticed while reading it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "net.csv"
        self.notices: list[str] = []

    def read(self, content: str | bytes) -> list[Layer]:
        self.path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_layers(self.path, notice=self.notices.append)

    def read_row(self, row: str, *, more: str = "") -> Layer:
        return self.read(f"{HEADER}{more}\n{row}\n")[0]

    def problems(self, content: str | bytes) -> list[str]:
        with pytest.raises(InputError) as caught:
            self.read(content)
        return [line.replace(str(self.path), "FILE") for line in caught.value.lines]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def shape(layer: Layer) -> tuple[int, ...]:
    return (
        layer.in_height,
        layer.in_width,
        layer.kernel_h,
        layer.kernel_w,
        layer.in_channels,
        layer.out_channels,
        layer.stride_h,
        layer.stride_w,
    )


# --- dialects


def test_scale_sim_convolution(table: Table) -> None:
    layer = table.read_row("Conv1, 230, 228, 7, 5, 3, 64, 2,")
    assert (layer.name, layer.kind, layer.line) == ("Conv1", "conv", 2)
    assert shape(layer) == (230, 228, 7, 5, 3, 64, 2, 2)
    assert (layer.pad_h, layer.pad_w, layer.groups, layer.batch) == (0, 0, 1, 1)
    assert (layer.nm, layer.block, layer.weight_sparsity, layer.tensor) == (None, None, None, None)
    assert table.notices == []


@pytest.mark.parametrize("header", ["Layer,M,N,K", "Layer,M,N,K,", "L,M,N,K,", "Layer Name, M, N, K,", "layer,m,n,k"])
@pytest.mark.parametrize("row", ["q,197,2304,768", "q, 197, 2304, 768,"])
def test_scale_sim_gemm(table: Table, header: str, row: str) -> None:
    (layer,) = table.read(f"{header}\n{row}\n")
    assert (layer.kind, layer.p, layer.s, layer.k) == ("gemm", 197, 2304, 768)


def test_sparsity_of_scale_sim_v3(table: Table) -> None:
    assert table.read_row("CONV_1, 5, 5, 3, 3, 2, 6, 1, 2:4,", more=" Sparsity,").nm == (2, 4)
    assert table.read("Layer, M, N, K, Sparsity,\ng, 8, 16, 32, 1:4,\n")[0].nm == (1, 4)


def test_optional_columns(table: Table) -> None:
    titles = "Padding,Dilation,Groups,Batch,Calls,NM,Block,Weight Sparsity,Activation Sparsity,Tensor,Residual"
    layer = table.read_row("c,9,9,3,3,8,16,1,1,2,4,3,5,2:4,64,0.9,0.4,layer1.weight,", more=titles)
    assert layer.residual is None
    assert (layer.pad_h, layer.pad_w, layer.dilation_h, layer.dilation_w) == (1, 1, 2, 2)
    assert (layer.groups, layer.batch, layer.calls) == (4, 3, 5)
    assert (layer.nm, layer.block) == ((2, 4), 64)
    assert (layer.weight_sparsity, layer.activation_sparsity, layer.tensor) == (0.9, 0.4, "layer1.weight")


def test_optional_columns_left_empty(table: Table) -> None:
    layer = table.read_row("c,9,9,3,3,8,16,1,,,,", more="Padding,Groups,NM,Block")
    assert (layer.pad_h, layer.groups, layer.nm, layer.block) == (0, 1, None, None)


def test_dense_and_no_blocks_are_choices(table: Table) -> None:
    layer = table.read_row("c,9,9,3,3,8,16,1,Dense,None", more="NM,Block")
    assert (layer.nm, layer.block) == ((1, 1), "none")


def test_optional_columns_of_a_gemm(table: Table) -> None:
    layer = table.read("Layer,M,N,K,Batch,Groups,Block\ng,8,16,32,4,2,none\n")[0]
    assert (layer.p, layer.groups, layer.s, layer.k, layer.block) == (32, 2, 8, 16, "none")


def test_strides_and_padding_by_axis(table: Table) -> None:
    header = HEADER.replace("Strides,", "Stride Height, Stride Width, Padding Height, Padding Width")
    (layer,) = table.read(f"{header}\nc,9,9,3,3,8,16,2,1,0,1\n")
    assert (layer.stride_h, layer.stride_w, layer.pad_h, layer.pad_w) == (2, 1, 0, 1)


# --- what real files hold


@pytest.mark.parametrize(
    "content",
    [
        HEADER.upper() + "\nc,9,9,3,3,8,16,1,\n",
        HEADER + "\n,,,,,,,,\nc,9,9,3,3,8,16,1,\n",
        HEADER + "\n\n\tc,9,9,3,3,8,16,1\n\n\n",
        HEADER + "\r\nc,9,9,3,3,8,16,1,\r\n",
        HEADER + "\rc,9,9,3,3,8,16,1,",
        HEADER.replace(",", "\t") + "\nc\t9\t9\t3\t3\t8\t16\t1\t\n",
        "\ufeff" + HEADER.replace(", ", ",\u00a0").replace("IFMAP ", "IFMAP\u00a0") + "\nc,\u00a09,9,3,3,8,16,1\n",
        HEADER.replace("Num Filter", "num  filters") + "\nc,9,9,3,3,8,16,1,#dw\n",
        "# a comment\n" + HEADER + " # more\n# another, with commas\nc,9,9,3,3,8,16,1, # dw, of 3\n",
        HEADER.replace("Layer name", '"Layer name"') + '\n"c","9","9",3,3,8,16,1\n',
    ],
)
def test_oddities(table: Table, content: str) -> None:
    (layer,) = table.read(content)
    assert layer.name == "c"
    assert shape(layer) == (9, 9, 3, 3, 8, 16, 1, 1)
    assert table.notices == []


def test_unknown_columns_are_told(table: Table) -> None:
    layer = table.read_row("c,9,9,3,3,8,16,1,,,4,5,6", more=",,Eh,Ew,e2")
    assert shape(layer) == (9, 9, 3, 3, 8, 16, 1, 1)
    assert table.notices == [f"{table.path}: columns not read: Eh, Ew, e2"]


def test_values_under_no_title_are_told(table: Table) -> None:
    table.read_row("c,9,9,3,3,8,16,2, 2")
    assert table.notices == [f"{table.path}: values under no title, not read (1): line 2"]


def test_section_titles_are_skipped_and_counted(table: Table) -> None:
    layers = table.read(f"{HEADER}\nAlphaGoZero,\nc,9,9,3,3,8,16,1\n\nAlexnet,,,,,,,,\nd,9,9,3,3,8,16,1\n")
    assert [(layer.name, layer.line) for layer in layers] == [("c", 3), ("d", 6)]
    assert table.notices == [
        f"{table.path}: rows with only a name, skipped as section titles (2): AlphaGoZero, Alexnet"
    ]


def test_repeated_names_become_unique(table: Table) -> None:
    rows = "".join(f"{name},8,8,8\n" for name in ("a", "b", "a", "a#2", "a", "b", "b"))
    layers = table.read("Layer,M,N,K\n" + rows)
    assert [layer.name for layer in layers] == ["a", "b", "a#3", "a#2", "a#4", "b#2", "b#3"]
    assert table.notices == [f"{table.path}: repeated names made unique (4): a#3, a#4, b#2, ..."]


def test_two_ifmap_widths_are_height_and_width(table: Table) -> None:
    (layer,) = table.read(HEADER.replace("IFMAP Height", "IFMAP Width") + "\nDS_1,700,161,20,5,1,32,2,\n")
    assert (layer.in_height, layer.in_width) == (700, 161)
    assert "the first of two columns 'IFMAP Width' is read as IFMAP Height" in table.notices[0]


# --- depthwise by name


@pytest.mark.parametrize("filters", [1, 32])
def test_dp_means_one_filter_per_channel(table: Table, filters: int) -> None:
    layer = table.read_row(f"Conv2_DP, 114, 114, 3, 3, 32, {filters}, 1,")
    assert layer.depthwise
    assert (layer.groups, layer.out_channels, layer.s, layer.k) == (32, 32, 1, 9)
    assert table.notices == [f"{table.path}: depthwise by the DP in their names (1): Conv2_DP"]


def test_groups_overrule_the_name(table: Table) -> None:
    layer = table.read_row("DPN92.conv1, 9, 9, 3, 3, 32, 64, 1, 1", more="Groups")
    assert (layer.groups, layer.out_channels) == (1, 64)


def test_dp_with_another_number_of_filters_is_refused(table: Table) -> None:
    assert table.problems(f"{HEADER}\nDPN92.conv1, 9, 9, 3, 3, 32, 64, 1,\n") == [
        "FILE:2: column 'Num Filter': value '64': must be 1 or the 32 Channels, as DP in the name means "
        "depthwise (a Groups value overrules the name)"
    ]


def test_dp_says_nothing_in_a_gemm_table(table: Table) -> None:
    assert table.read("Layer,M,N,K\nDPT.qkv,8,16,32\n")[0].groups == 1


# --- residuals


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}Residual\nblock 1\na,9,9,3,3,8,16,1\nb,9,9,3,3,8,16,1,a\n",
        "Layer,M,N,K,residual\na,8,16,4\nb,8,16,32,a\n",
        "Layer\tM\tN\tK\tRESIDUAL\na\t8\t16\t4\nb\t8\t16\t32\t a \n",
    ],
)
def test_a_residual_names_an_earlier_row(table: Table, content: str) -> None:
    layers = table.read(content)
    assert [(layer.name, layer.residual) for layer in layers] == [("a", None), ("b", "a")]
    write_layers(table.path, layers)
    assert read_layers(table.path) == layers


def test_a_residual_names_a_row_as_it_is_called_in_the_end(table: Table) -> None:
    layers = table.read("Layer,M,N,K,Residual\na,8,16,4\na,8,16,4,a\nb,8,16,4,a#2\nc,8,16,4,b\nb,1,2,3\n")
    assert [(layer.name, layer.residual) for layer in layers][1:4] == [("a#2", "a"), ("b", "a#2"), ("c", "b")]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("b", "must name an earlier layer"),
        ("c", "must name an earlier layer"),
        ("none", "must name an earlier layer"),
        ("a ", ""),
        ("narrow", "must name a layer with the same output, 16 x 8; its is 15 x 8"),
        ("long", "must name a layer with the same output, 16 x 8; its is 16 x 9"),
        ("batched", "must name a layer with the same output, 16 x 8; its is 16 x 8, batch 2"),
        ("twice", "must name one row: 2 earlier rows have this name"),
        ("twice#2", ""),
        ("a\tb", "must be printable text without surrounding spaces"),
    ],
)
def test_bad_residuals(table: Table, value: str, rule: str) -> None:
    before = "a,8,16,4,1\nnarrow,8,15,4,1\nlong,9,16,4,1\nbatched,4,16,4,2\ntwice,8,16,4,1\ntwice,8,16,4,1\n"
    content = f"Layer,M,N,K,Batch,Adds,Residual\n{before}b,8,16,32,1,,{value}\nc,8,16,32,1,\n"
    if rule:
        assert table.problems(content) == [f"FILE:8: column 'Residual': value {value!r}: {rule}"]
    else:
        assert table.read(content)[6].residual == value.strip()


def test_all_bad_residuals_are_told(table: Table) -> None:
    rows = "".join(f"g{i},8,16,4,h{i}\n" for i in range(12))
    problems = table.problems(f"Layer,M,N,K,Residual\n{rows}")
    assert problems[0] == "FILE:2: column 'Residual': value 'h0': must name an earlier layer"
    assert (len(problems), problems[10]) == (11, "and 2 more")


def test_a_residual_without_its_row_is_not_written(table: Table) -> None:
    layers = table.read("Layer,M,N,K,Residual\na,8,16,4\nb,8,16,32,a\n")
    with pytest.raises(InputError, match="layer 'b': residual 'a': must name an earlier layer"):
        write_layers(table.path, layers[1:])


# --- bad rows


INTEGER = "must be an integer of at most 18 digits"
UNQUOTED = "fields must be split by commas, outside quotes"


@pytest.mark.parametrize(
    ("row", "title", "value", "rule"),
    [
        ("c,1,B,1,1,8,16,1", "IFMAP Width", "B", INTEGER),
        ("c,9,9,3,3,8,1.5,1", "Num Filter", "1.5", INTEGER),
        ("c,9,9,3,3,8,٣,1", "Num Filter", "٣", INTEGER),
        (f"c,9,9,3,3,8,{'9' * 19},1", "Num Filter", "9" * 19, INTEGER),
        ("c,9,9,0,3,8,16,1", "Filter Height", "0", "must be an integer of at least 1"),
        ("c,9,9,3,3,8,16,-2", "Strides", "-2", "must be an integer of at least 1"),
        ("c,9,5,3,7,8,16,1", "Filter Width", "7", "must not be larger than the padded input of 5"),
        ("c,9,9,3", "Filter Width", "", "missing; the row has 4 fields"),
        ("c,9,9,3,,3,8,16,1", "Filter Width", "", "missing; the row has 9 fields"),
        (",9,9,3,3,8,16,1", "Layer name", "", "missing; the row has 8 fields"),
        ("c\td,9,9,3,3,8,16,1", "Layer name", "c\td", "must be printable text without surrounding spaces"),
        ("c\t9\t9\t3", "Layer name", "c\t9\t9\t3", f"one field with tabs in it: {UNQUOTED}"),
        ('"c,9,9,3', "Layer name", "c,9,9,3", f"one field with commas in it: {UNQUOTED}"),
    ],
)
def test_bad_rows(table: Table, row: str, title: str, value: str, rule: str) -> None:
    problem = f"FILE:2: column {title!r}: value {value!r}: {rule}"
    assert table.problems(f"{HEADER}\n{row}\n") == [problem]


def test_overflow_has_no_column(table: Table) -> None:
    assert table.problems(f"{HEADER}\nc,{10**12},{10**12},1,1,8,16,1\n") == [
        f"FILE:2: layer 'c': macs {128 * 10**24}: overflow: must be at most 2**63 - 1"
    ]


@pytest.mark.parametrize(
    ("title", "value", "rule"),
    [
        ("Padding", "same", "must be an integer of at most 18 digits"),
        ("Padding", "-1", "must be an integer of at least 0"),
        ("Groups", "3", "must divide in_channels = 8"),
        ("Batch Size", "0", "must be an integer of at least 1"),
        ("NM", "2/4", "expected N:M, such as 2:4"),
        ("Sparsity", "5:4", "N:M needs 1 <= N <= M <= 256"),
        ("Block", "0", "must be at least 1"),
        ("Block", "big", "must be an integer of at most 18 digits"),
        ("Weight Sparsity", "90%", "must be a number"),
        ("Weight Sparsity", "1", "must be a number from 0 up to, not including, 1"),
        ("Activation Sparsity", "nan", "must be a number from 0 to 1"),
        ("Kind", "pool", "must be conv or gemm"),
    ],
)
def test_bad_optional_values(table: Table, title: str, value: str, rule: str) -> None:
    problems = table.problems(f"{HEADER}{title}\nc,9,9,3,3,8,16,1,{value}\n")
    assert problems == [f"FILE:2: column {title!r}: value {value!r}: {rule}"]


def test_columns_that_disagree(table: Table) -> None:
    assert table.read_row("c,9,9,3,3,8,16,1,2:4,2:4", more="NM,Sparsity").nm == (2, 4)
    assert table.problems(f"{HEADER}NM,Sparsity\nc,9,9,3,3,8,16,1,2:4,1:4\n") == [
        "FILE:2: column 'Sparsity': value '1:4': disagrees with column 'NM'"
    ]


def test_block_must_suit_the_rows_own_pattern(table: Table) -> None:
    assert table.problems(f"{HEADER}NM,Block\nc,9,9,3,3,8,16,1,2:4,6\n") == [
        "FILE:2: column 'Block': value '6': must be a multiple of M = 4"
    ]


def test_a_gemm_table_has_no_padding(table: Table) -> None:
    assert table.read("Layer,M,N,K,Padding\ng,8,16,32,0\n")[0].pad_h == 0
    assert table.problems("Layer,M,N,K,Padding\ng,8,16,32,1\n") == [
        "FILE:2: column 'Padding': value '1': must be 0 in a gemm"
    ]


def test_a_comma_row_in_a_table_of_tabs(table: Table) -> None:
    assert table.problems("Layer\tM\tN\tK\ng\t8\t16\t32\nh,8,16,32\n") == [
        "FILE:3: column 'Layer': value 'h,8,16,32': one field with commas in it: "
        "fields must be split by tabs, outside quotes"
    ]


def test_all_bad_rows_are_told_at_most_ten(table: Table) -> None:
    bad = "".join(f"gate{i}, 1, B, 1, 1, H, H, 1,\n" for i in range(12))
    problems = table.problems(f"{HEADER}\ngood,9,9,3,3,8,16,1\n{bad}")
    assert [line.split(": ")[0] for line in problems[:10]] == [f"FILE:{line}" for line in range(3, 13)]
    assert problems[10:] == ["and 2 more"]
    assert table.notices == []


# --- bad files


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "FILE: empty file: needs a header and at least one layer"),
        (b"\n,,,\n# nothing\n", "FILE: empty file: needs a header and at least one layer"),
        (b"\nLayer,M,N,K\n,,,\n", "FILE: only a header, on line 2: needs at least one layer"),
        (b"Layer,M,N,K\nA,\nB,\n", "FILE: no layers: each of the 2 rows holds a name only"),
        (b"\x89PNG\r\n\x1a\n\0\0", "FILE: byte 8 is zero: must be UTF-8 text, not a binary or UTF-16 file"),
        ("Layer,M,N,K\né,1,1,1\n".encode("latin-1"), "FILE: byte 12 is 0xe9: must be UTF-8 text"),
        (b"Layer,M,N,K\na," + b"1" * 70_000, "FILE:2: line of 70002 characters: must be at most 65536"),
        (b"Layer,L,M,N,K\na,b,1,1,1\n", "FILE:1: columns 'Layer' and 'L' mean the same: one must go"),
        (
            b"Layer,M,K\na,1,1\n",
            "FILE:1: missing column 'N': every gemm table has it; present are Layer, M, K",
        ),
        (
            b"Name,M,N,K\na,1,1,1\n",
            "FILE:1: missing column 'Layer name': every gemm table has it; present are Name, M, N, K",
        ),
        (
            b"a,1,1,1\nb,1,1,1\n",
            "FILE:1: header 'a, 1, 1, 1': must name the columns Layer name, IFMAP Height, IFMAP Width, "
            "Filter Height, Filter Width, Channels, Num Filter, Strides or Layer name, M, N, K",
        ),
    ],
)
def test_bad_files(table: Table, content: bytes, problem: str) -> None:
    assert table.problems(content) == [problem]


def test_missing_convolution_columns_are_named(table: Table) -> None:
    (problem,) = table.problems("Layer,IFMAP Height,IFMAP Width,Channels,Num Filter\nc,9,9,8,16\n")
    assert problem == (
        "FILE:1: missing column 'Filter Height', 'Filter Width', 'Strides': every conv table has it; "
        "present are Layer, IFMAP Height, IFMAP Width, Channels, Num Filter"
    )


def test_no_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_layers(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a directory: must be a CSV file"):
        read_layers(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_no_permission(table: Table) -> None:
    table.read("Layer,M,N,K\na,1,1,1\n")
    table.path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_layers(table.path)


# --- writing


def test_writes_the_fewest_columns(table: Table) -> None:
    layers = table.read(f"{HEADER}Padding\na,9,9,3,3,8,16,1,1\nb,9,9,1,1,16,8,2,\n")
    write_layers(table.path, layers)
    assert table.path.read_text() == (
        "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides,Padding\n"
        "a,9,9,3,3,8,16,1,1\n"
        "b,9,9,1,1,16,8,2,0\n"
    )
    assert list(table.path.parent.iterdir()) == [table.path]


def test_writes_groups_where_a_name_would_mislead(table: Table) -> None:
    layers = table.read(f"{HEADER}Groups\nDPN.conv,9,9,3,3,8,16,1,1\n")
    write_layers(table.path, layers)
    assert table.path.read_text().splitlines()[1] == "DPN.conv,9,9,3,3,8,16,1,1"
    assert read_layers(table.path) == layers


def test_refuses_to_write_what_would_not_read_back(table: Table, tmp_path: Path) -> None:
    layers = table.read("Layer,M,N,K\na,1,1,1\n")
    before = table.path.read_bytes()
    with pytest.raises(InputError, match="2 layers called 'a': names must be unique"):
        write_layers(table.path, layers * 2)
    with pytest.raises(InputError, match="no layers to write"):
        write_layers(table.path, [])
    assert table.path.read_bytes() == before
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        write_layers(tmp_path / "no" / "where.csv", layers)
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        write_layers(table.path / "inside.csv", layers)
