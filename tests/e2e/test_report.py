"""`crispsim report` as its user meets it: the command, and the page in a browser."""

import json
import re
import shutil
import sys
from pathlib import Path

import pandas
import pytest

from crispsim.cli.main import run_command as crispsim

NETWORK = """Layer, M, N, K, NM, Block, Weight Sparsity
<img src=x onerror=alert(1)>, 40, 64, 128,,,
layer2, 40, 72, 256, 1:4, 32, 0.875
layer10, 3000, 64, 128, 2:4, none,
head, 1, 10, 64,,,
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run, with its report in both formats."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "small.csv").write_text(NETWORK)
    asked = ["run", "--layer-csv", str(folder / "small.csv"), "--block", "32", "--sparsity", "0.75", "--quiet"]
    assert crispsim([*asked, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def written(run):
    assert crispsim(["report", str(run)]) == 0
    return run / "report.html"


def test_it_says_what_it_wrote_and_leaves_the_rest_alone(run, tmp_path, capsys):
    own = Path(shutil.copytree(run, tmp_path / "own", ignore=shutil.ignore_patterns("report.*")))
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    assert crispsim(["report", str(own)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert re.fullmatch(rf"wrote {re.escape(str(own / 'report.html'))} \([\d,]+ KiB\)", lines[0])
    assert crispsim(["report", str(own), "--format", "both"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert {path.name for path in own.iterdir()} == {*before, "report.html", "report.md"}
    assert {name: (own / name).read_bytes() for name in before} == before


def test_out_names_the_file_and_its_ending_the_format(run, tmp_path):
    assert crispsim(["report", str(run), "--out", str(tmp_path / "a.md")]) == 0
    assert (tmp_path / "a.md").read_text().startswith("# small on dense, stc, dstc and crisp-stc\n")
    assert crispsim(["report", str(run), "--out", str(tmp_path / "b"), "--format", "both"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "b.html", "b.md"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: not a run's folder: there is no such folder"),
        (["empty"], "empty: not a run's folder: results.csv is missing"),
        (["run", "--out", "run/results.csv/a.html"], "run/results.csv is a file; give a path in a folder"),
        (["run/results.csv"], "run/results.csv: not a run's folder: it is a file"),
        (["run", "--out", "run/config.toml"], "--out run/config.toml: must end in .html or .md"),
        (["run", "--out", "x.pdf"], "--out x.pdf: must end in .html or .md"),
        (
            ["run", "--out", "x.pdf", "--format", "md"],
            "--out x.pdf: its ending is not that of --format md: must be .md",
        ),
        (["run", "--out", "folder.md"], "--out folder.md: is there and no file"),
        (["run", "--format", "md", "--out", "a.html"], "--out a.html: its ending is not that of --format md"),
        (["run", "--format", "pdf"], "Invalid value for '--format'"),
        ([], "Missing argument 'DIR'"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, monkeypatch, capsys, arguments, message):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("report.*"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.md").mkdir()
    monkeypatch.chdir(tmp_path)
    assert crispsim(["report", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("crispsim: ")
    assert message in line
    assert not [*tmp_path.rglob("*.html")]


def test_results_cut_short_are_refused(run, tmp_path, capsys):
    own = Path(shutil.copytree(run, tmp_path / "own", ignore=shutil.ignore_patterns("report.*")))
    text = (own / "results.csv").read_text().splitlines(keepends=True)
    (own / "results.csv").write_text("".join(text[:2]))
    assert crispsim(["report", str(own)]) == 2
    assert "not a run's folder" in capsys.readouterr().err
    assert sorted(path.name for path in own.iterdir()) == ["config.toml", "results.csv", "summary.json"]


def test_help_has_an_example(capsys):
    assert crispsim(["report", "--help"]) == 0
    assert "Example: crispsim report" in capsys.readouterr().out


# --- in a browser


@pytest.fixture(scope="module")
def browser():
    """Chromium, headless; skipped where it or its driver is not installed."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the path")
    with driver.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, written):
    """The report, open; closing it looks at what it said and asked for."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(written.as_uri())
    yield opened
    opened.close()
    assert said == []
    assert asked[0] == written.as_uri()
    assert all(url.startswith("data:") for url in asked[1:])


ROWS = "#layer-table tbody tr:not([hidden])"


def head_of(page, name):
    """The button of the heading that explains a column of results.csv."""
    return page.locator(f'#layer-table thead button[title^="{name}:"]')


def order_of(page):
    """Layer and architecture of the rows shown, from the top."""
    cells = page.locator(ROWS).evaluate_all("rows => rows.map(r => [r.cells[0].textContent, r.cells[1].textContent])")
    return [tuple(pair) for pair in cells]


def pairs(rows):
    return [*zip(rows["layer"], rows["arch"], strict=True)]


@pytest.mark.parametrize("column", ["cycles", "utilization", "energy_uj"])
def test_a_click_sorts_by_number_up_and_down_and_back(page, run, column):
    rows = pandas.read_csv(run / "results.csv", keep_default_na=False)
    head = head_of(page, column)
    cell = head.locator("xpath=..")
    assert order_of(page) == pairs(rows)
    assert cell.get_attribute("aria-sort") == "none"
    for ascending in (True, False):
        head.click()
        assert cell.get_attribute("aria-sort") == ("ascending" if ascending else "descending")
        expected = rows.sort_values(by=[column], ascending=[ascending], kind="stable")
        assert order_of(page) == pairs(expected)
    head.click()
    assert cell.get_attribute("aria-sort") == "none"
    assert order_of(page) == pairs(rows)


def test_text_sorts_by_the_numbers_in_it_and_one_column_at_a_time(page):
    head_of(page, "cycles").click()
    head_of(page, "layer").click()
    assert page.locator('[aria-sort="ascending"]').count() == 1
    layers = list(dict.fromkeys(layer for layer, _ in order_of(page)))
    assert layers.index("layer2") < layers.index("layer10")


def test_empty_cells_come_last_either_way(page, run):
    rows = pandas.read_csv(run / "results.csv", keep_default_na=False)
    empty = sum(rows["requested_sparsity"] == "")
    assert 0 < empty < len(rows)
    page.get_by_label("shape and sparsity").check()
    for _ in range(2):
        head_of(page, "requested_sparsity").click()
        place = head_of(page, "requested_sparsity").locator("xpath=..").evaluate("cell => cell.cellIndex")
        texts = page.locator(ROWS).evaluate_all(f"rows => rows.map(row => row.cells[{place}].textContent)")
        assert [text == "" for text in texts] == [False] * (len(rows) - empty) + [True] * empty


def test_words_and_architectures_narrow_the_table(page, run):
    rows = pandas.read_csv(run / "results.csv", keep_default_na=False)
    status = page.locator("form.controls output")
    assert status.inner_text() == f"{len(rows)} of {len(rows)} rows"
    page.get_by_label("Filter by layer").fill("LAYER 1")
    assert {layer for layer, _ in order_of(page)} == {"layer10"}
    page.get_by_label("crisp-stc").uncheck()
    assert order_of(page) == [("layer10", arch) for arch in ("dense", "stc", "dstc")]
    assert status.inner_text() == f"3 of {len(rows)} rows"
    page.get_by_label("Filter by layer").fill("<img")
    assert {layer for layer, _ in order_of(page)} == {"<img src=x onerror=alert(1)>"}
    head_of(page, "cycles").click()
    page.get_by_role("button", name="Reset").click()
    page.locator(ROWS).nth(len(rows) - 1).wait_for()
    assert order_of(page) == pairs(rows)
    assert page.locator("#layer-table [aria-sort]:not([aria-sort=none])").count() == 0


def test_groups_of_columns_are_shown_and_hidden(page):
    def seen(name):
        place = head_of(page, name).locator("xpath=..").evaluate("cell => cell.cellIndex")
        cell = page.locator(f"#layer-table tbody tr:first-child > :nth-child({place + 1})")
        assert cell.is_visible() == head_of(page, name).is_visible()
        return cell.is_visible()

    names = {
        "main": ("mode", "energy_gain"), "stalls": ("busy_core_cycles", "idle_core_cycles"),
        "traffic": ("smem_read_bytes", "smem_excess_bytes"), "energy": ("mac_uj", "sram_origin"),
    }  # fmt: skip
    assert {group: seen(own[0]) for group, own in names.items()} == {
        "main": True, "stalls": False, "traffic": False, "energy": False,
    }  # fmt: skip
    for group, own in names.items():
        box = page.locator("form.controls").get_by_label(group, exact=True)
        before = {name: seen(name) for names_ in names.values() for name in names_}
        box.click()
        after = {name: seen(name) for names_ in names.values() for name in names_}
        assert {name for name in after if after[name] != before[name]} == set(own)
    assert seen("layer")
    assert seen("arch")


def test_it_works_with_the_keyboard(page, run):
    rows = pandas.read_csv(run / "results.csv", keep_default_na=False)
    head_of(page, "cycles").focus()
    page.keyboard.press("Enter")
    assert order_of(page) == pairs(rows.sort_values(by=["cycles"], kind="stable"))
    page.keyboard.press("Space")
    assert order_of(page) == pairs(rows.sort_values(by=["cycles"], ascending=[False], kind="stable"))
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    page.get_by_label("stalls").focus()
    page.keyboard.press("Space")
    assert head_of(page, "busy_core_cycles").is_visible()


def test_headings_stay_in_sight(page):
    page.add_style_tag(content=".box.tall { max-height: 12rem !important; }")
    box = page.locator(".box.tall")
    box.evaluate("box => box.scrollTo(0, 200)")
    assert box.evaluate("box => box.scrollTop") > 100
    top, head = box.bounding_box(), page.locator("#layer-table thead th").first.bounding_box()
    assert head["y"] - top["y"] < 3


def test_a_rows_name_stays_in_sight(page):
    for group in page.locator("form.controls input[name=group]").all():
        group.check()
    cells = [page.locator("#layer-table tbody tr").first.locator("> *").nth(place) for place in range(3)]
    before = [cell.bounding_box()["x"] for cell in cells]
    page.locator(".box.tall").evaluate("box => box.scrollTo(300, 0)")
    after = [cell.bounding_box()["x"] for cell in cells]
    assert after[:2] == pytest.approx(before[:2], abs=1.5)
    assert after[2] == pytest.approx(before[2] - 300, abs=1.5)


@pytest.mark.parametrize("width", [1280, 390])
def test_wide_tables_scroll_within_their_box(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for box in page.locator("form.controls input[name=group]").all():
        box.check()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".box.tall").evaluate("box => box.scrollWidth > box.clientWidth")


def test_without_a_script_everything_is_there(browser, written):
    with browser.new_context(java_script_enabled=False) as context:
        opened = context.new_page()
        opened.goto(written.as_uri())
        assert opened.locator("form.controls").is_hidden()
        assert opened.locator("#layer-table th[scope=col]").last.is_visible()
        assert opened.locator("#layer-table tbody tr").count() == 16


def test_it_prints_whole(page):
    page.emulate_media(media="print")
    assert page.locator("form.controls").is_hidden()
    assert page.locator(".box.tall").evaluate("box => box.scrollHeight <= box.clientHeight")
    assert page.locator("#layer-table tbody tr").last.is_visible()


def test_of_a_long_table_the_first_rows_are_shown_until_asked(browser, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # its figures are not looked at
    own = Path(shutil.copytree(run, tmp_path / "own", ignore=shutil.ignore_patterns("report.*")))
    rows = pandas.read_csv(own / "results.csv", keep_default_na=False)
    copies = [rows.assign(layer=[f"{name}/{copy}" for name in rows["layer"]]) for copy in range(40)]
    rows = pandas.concat(copies, ignore_index=True)
    rows["cycles"] = [(7919 * place) % len(rows) + 1 for place in range(len(rows))]
    rows.to_csv(own / "results.csv", index=False)
    summary = json.loads((own / "summary.json").read_text())
    for arch, total in summary["totals"].items():
        mine = rows[rows["arch"] == arch]
        total |= {key: (mine[key] * mine["calls"]).sum().item() for key in ("cycles", "energy_uj")}
    (own / "summary.json").write_text(json.dumps(summary))
    assert crispsim(["report", str(own)]) == 0
    opened = browser.new_page()
    opened.goto((own / "report.html").as_uri())
    head_of(opened, "cycles").click()
    expected = pairs(rows.sort_values(by=["cycles"]))
    visible = opened.locator("#layer-table tbody tr").evaluate_all("rows => rows.map(row => row.offsetHeight > 0)")
    assert order_of(opened) == expected
    assert visible == [True] * 500 + [False] * 140
    status = opened.locator("form.controls output")
    assert status.inner_text() == "640 of 640 rows, the first 500 shown"
    opened.emulate_media(media="print")
    assert opened.locator("#layer-table tbody tr").last.is_visible()
    opened.emulate_media(media="screen")
    opened.get_by_role("button", name="Show all").click()
    assert opened.locator("#layer-table tbody tr").last.is_visible()
    assert status.inner_text() == "640 of 640 rows"
    opened.close()
