"""In a real browser: notebook 6 run in JupyterLab, and with the network cut the atlas, the book and the slides.

Screenshots are kept in ``runs/screenshots``.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest

from ablations.atlas import Found, Map, Run, Shown, choose, find
from ablations.atlas import page as page_of
from ablations.pages import REPORT_STYLE, html_page
from ablations.writing import markdown
from dcbh_core import DCBH, Config, Faces, Split
from tests.conftest import synthetic_faces
from tests.test_atlas import HOSTILE, NAMES

ROOT = Path(__file__).resolve().parent.parent
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "google-chrome", "google-chrome-stable")
NO_BROWSER = (
    "There is no Chromium here: `apt-get install chromium` (as root) or "
    "`.venv/bin/python -m playwright install chromium` brings one."
)
NOTEBOOK = "06_codes_tsne"
SCREENSHOTS = ROOT / "runs/screenshots"
# So that the user's own settings neither matter nor change.
JUPYTER_PLACES = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
PHONE = 390  # pixels
PATIENCE = 300  # seconds for notebook 6 in JupyterLab, from "Run All Cells" to an idle kernel

# The place of one face on the first map of an atlas, in pixels of the window, and the name of its person.
PLACE_OF_A_FACE = """() => {
    const [plot] = Bokeh.index.roots;
    const glyphs = plot.model.renderers[0], data = glyphs.data_source.data, at = %d;
    const canvas = plot.canvas_view.el.getBoundingClientRect();
    return {
        x: canvas.x + plot.frame.x_scale.compute(data[glyphs.glyph.x.field][at]),
        y: canvas.y + plot.frame.y_scale.compute(data[glyphs.glyph.y.field][at]),
        name: data.name[at],
    };
}"""


# The dots of a map of an atlas.
DOTS = "() => { window.DOTS = (m) => Bokeh.documents[0].get_model_by_name(`map${m}`).renderers[0]; }"
# Of each slide of a page of reveal.js the height of what is on it, in pixels, and how it begins.
HEIGHTS_OF_SLIDES = """() => Reveal.getSlides().map((slide) => {
    const { h, v } = Reveal.getIndices(slide);
    Reveal.slide(h, v);
    return [slide.scrollHeight, slide.innerText.slice(0, 80)];
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)), playwright.chromium.executable_path)
        if not Path(found).exists():
            pytest.exit(NO_BROWSER, returncode=1)
        as_root = getattr(os, "geteuid", lambda: 1)() == 0  # Chromium's sandbox is not for root
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"] if as_root else [])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what notebook 6 needs, without its outputs, and a run of a few epochs beside it."""
    from course import trained

    workplace = tmp_path_factory.mktemp("workplace")
    shutil.copytree(ROOT / "notebooks/course", workplace / "notebooks/course")
    content = nbformat.read(ROOT / f"notebooks/{NOTEBOOK}.ipynb", as_version=4)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(content, workplace / f"notebooks/{NOTEBOOK}.ipynb")
    trained(workplace / "runs/train", epochs=5)
    return workplace


@pytest.fixture(scope="module")
def lab(workplace: Path) -> Iterator[dict[str, str]]:
    """A JupyterLab server on loopback, with an address that nobody else has ("url") and a token; afterwards it and its
    kernels are gone."""
    places = {name: str(workplace / name.lower()) for name in JUPYTER_PLACES}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    command += re.findall(r"jupyter lab notebooks (--.+)", (ROOT / "Makefile").read_text())  # as `make lab` has it
    with (workplace / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [*command, f"--notebook-dir={workplace / 'notebooks'}"],
            cwd=ROOT,
            env={**os.environ, **places, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    family = psutil.Process(server.pid)
    started: list[psutil.Process] = []
    try:
        address = wait_for(lambda: address_of(server, Path(places["JUPYTER_RUNTIME_DIR"])), 60, "JupyterLab to start")
        yield address
        started = family.children(recursive=True)
        server.terminate()
        server.wait(30)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            started += family.children(recursive=True)
        _, alive = psutil.wait_procs(started, timeout=10)
        for process in [*alive, *([family] if server.poll() is None else [])]:
            process.kill()
        server.wait(10)
    assert not alive, "JupyterLab left processes behind"


def address_of(server: subprocess.Popen[bytes], runtime: Path) -> dict[str, str] | None:
    """What a server that has started wrote about itself."""
    assert server.poll() is None, "JupyterLab has ended; what it said is in lab.log"
    for path in runtime.glob("jpserver-*.json"):
        with contextlib.suppress(ValueError, OSError):
            address: dict[str, str] = json.loads(path.read_text())
            urllib.request.urlopen(f"{address['url']}api?token={address['token']}", timeout=5).close()
            return address
    return None


def wait_for(condition: Any, seconds: float, what: str, page: Page | None = None) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        # A browser's events are only handled while one of its own functions waits.
        page.wait_for_timeout(1000) if page else time.sleep(0.2)
    return result


def hover_a_face(page: Page, frame: Frame, picture: str, at: int = 0) -> None:
    """Move the mouse to a dot of an interactive map in a frame: the face and the name of its person appear."""
    canvas = frame.locator("canvas").first
    canvas.wait_for()
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    place = frame.evaluate(PLACE_OF_A_FACE % at)
    around = {"x": 0, "y": 0} if frame == page.main_frame else frame.frame_element().bounding_box()
    assert around is not None
    x, y = around["x"] + place["x"], around["y"] + place["y"]
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y, steps=3)
    faces = frame.locator('.bk-Tooltip [style*="--sprite"]:visible')
    faces.first.wait_for()
    assert 1 <= faces.count() <= 3
    for face in faces.all():
        assert face.evaluate("face => getComputedStyle(face).backgroundImage").startswith('url("blob:')
    assert place["name"] in frame.locator(".bk-Tooltip b:visible").all_inner_texts()
    page.screenshot(path=SCREENSHOTS / f"{picture}.png")


@contextlib.contextmanager
def offline(browser: Browser, width: int = 1200, phone: bool = False) -> Iterator[Page]:
    """A window without a network, of a desktop or a phone. Nothing may ask for one, and no script may complain."""
    size: Any = {"width": PHONE, "height": 844} if phone else {"width": width, "height": 900}
    context = browser.new_context(offline=True, viewport=size, has_touch=phone, is_mobile=phone)
    asked: list[str] = []
    complaints: list[str] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(("file:", "data:", "blob:")), refuse)
    page = context.new_page()
    page.on("requestfailed", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    assert asked == []
    assert complaints == []


@pytest.fixture(scope="module")
def executed(browser: Browser, lab: dict[str, str], workplace: Path) -> Iterator[tuple[Page, list[Any]]]:
    """Notebook 6 in JupyterLab after "Run All Cells": the window, and the code cells as saved."""
    path = workplace / f"notebooks/{NOTEBOOK}.ipynb"
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.goto(f"{lab['url']}lab/tree/{path.name}?token={lab['token']}")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    # Without a kernel, "Run All Cells" would ask for one.
    page.get_by_text(re.compile(r"\| Idle$")).wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    def saved() -> list[Any] | None:
        """The code cells as JupyterLab saves them, once all have been executed."""
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1000)
        with contextlib.suppress(ValueError):  # half written
            cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
            return cells if all(cell.execution_count for cell in cells) else None
        return None

    wait_for(saved, PATIENCE, "all cells to be executed", page)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]:visible').wait_for()
    yield page, wait_for(saved, 60, "the outputs of the last cell to be saved", page)
    context.close()


def test_notebook_6_runs_in_jupyterlab_and_shows_the_face_under_the_mouse(executed):
    page, cells = executed
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    page.screenshot(path=SCREENSHOTS / "jupyterlab.png")
    assert page.locator(".Toastify__toast").all_inner_texts() == []  # it neither asks nor tells about news
    frame = page.locator(".jp-Notebook iframe").first
    frame.wait_for(state="attached")
    frame.scroll_into_view_if_needed()
    hover_a_face(page, frame.element_handle().content_frame(), "jupyterlab_face")


def test_the_atlas_that_notebook_6_exports_shows_the_face_with_the_network_cut(browser, executed, workplace):
    with offline(browser) as page:
        page.goto((workplace / "runs/train/atlas.html").as_uri())
        hover_a_face(page, page.main_frame, "exported_face")


def test_the_check_with_the_network_cut_sees_who_asks_for_it_and_what_complains(browser, tmp_path):
    asking, complaining = tmp_path / "asking.html", tmp_path / "complaining.html"
    asking.write_text(
        "<script>document.head.append(Object.assign(new Image(), {src: 'https://example.org/'}))</script>"
    )
    complaining.write_text("<script>undefined.method()</script>")

    def visit(path: Path) -> None:
        with offline(browser) as page:
            page.goto(path.as_uri())
            page.wait_for_timeout(500)

    for path, found in ((asking, "example.org"), (complaining, "undefined")):
        with pytest.raises(AssertionError, match=found):
            visit(path)


class Atlas:
    """An atlas of two runs, with unseen people and hostile names, in a window; and what is true of it."""

    def __init__(self, page: Page, shown: Shown, codes: list[np.ndarray]):
        self.page, self.shown, self.codes = page, shown, codes
        self.found: list[Found] = [find(one, shown, 8) for one in codes]

    def place(self, face: int) -> tuple[float, float]:
        """Of a face on the first map, in pixels of the window."""
        self.page.locator("#map0").scroll_into_view_if_needed()
        self.page.wait_for_timeout(300)
        at = self.page.evaluate(PLACE_OF_A_FACE % face)
        return at["x"], at["y"]

    def chosen(self) -> list[list[int]]:
        """The faces that are selected, on either map."""
        selected = "[0, 1].map((m) => [...DOTS(m).data_source.selected.indices])"
        return [sorted(one) for one in self.page.evaluate(selected)]


@pytest.fixture(scope="module")
def atlas_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shown, list[np.ndarray]]:
    """The page of two runs that were not trained: made-up codes, some near those of others."""
    people, rng = synthetic_faces(len(NAMES), 6), np.random.default_rng(0)
    is_query = np.arange(len(people)) % 6 < 2
    known = people.labels < 7
    gallery, queries, new_gallery, new_queries = (
        Faces(people.images[part], people.labels[part] - 7 * new, NAMES[7:] if new else NAMES[:7])
        for new, part in (
            (False, known & ~is_query),
            (False, known & is_query),
            (True, ~known & ~is_query),
            (True, ~known & is_query),
        )
    )
    shown = choose(Split(gallery, gallery, queries, new_gallery, new_queries))
    own = rng.random((len(NAMES), 12)) < 0.5
    codes = [own[shown.faces.labels] ^ (rng.random((len(shown.faces), 12)) < flips) for flips in (0.15, 0.2)]
    runs = [Run(Path(f"seed-{seed}"), DCBH(Config(bits=12, width=0.05, seed=seed), 7), {}, {}) for seed in (0, 1)]
    maps = [
        Map(f"seed {seed}: 12 bits", "bits", one, rng.normal(size=(len(one), 2)), find(one, shown, 8))
        for seed, one in enumerate(codes)
    ]
    path = tmp_path_factory.mktemp("atlas") / "atlas.html"
    path.write_text(page_of(runs, shown, maps), encoding="utf-8")
    return path, shown, codes


@pytest.fixture(params=["desktop", "phone"])
def opened(browser: Browser, atlas_file: Any, request: pytest.FixtureRequest) -> Iterator[Atlas]:
    path, shown, codes = atlas_file
    with offline(browser, phone=request.param == "phone") as page:
        page.goto(path.as_uri())
        page.locator("body[data-ready]").wait_for()
        page.evaluate(DOTS)
        yield Atlas(page, shown, codes)
        sideways = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert sideways <= 0, f"the atlas is {sideways} pixels wider than the window"
        page.screenshot(path=SCREENSHOTS / f"{request.node.name.replace('[', '_').rstrip(']')}.png")


def test_a_click_on_the_atlas_says_what_is_nearest_in_both_runs_and_which_bits_differ(opened, request):
    page, query = opened.page, int(np.flatnonzero(opened.found[0].wrong)[0])
    place = opened.place(query)
    (page.touchscreen.tap if "phone" in request.node.name else page.mouse.click)(*place)
    answers = page.locator(".answers > section")
    answers.first.wait_for()
    assert answers.count() == 2
    boxes = [answer.bounding_box() for answer in answers.all()]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    # Codes may be equal, so another face may lie on the same place: which one answers?
    focus = int(page.locator("#answer").get_attribute("data-face"))
    np.testing.assert_array_equal(opened.codes[0][focus], opened.codes[0][query])
    assert page.locator("#about b").inner_text() == opened.shown.faces.names[opened.shown.faces.labels[focus]]
    for codes, found, answer in zip(opened.codes, opened.found, answers.all(), strict=True):
        lines = answer.locator(".neighbor .line").all_inner_texts()
        strips = answer.locator(".neighbor canvas").all()
        neighbors = found.neighbors[focus][found.neighbors[focus] >= 0]
        assert len(lines) == len(strips) == len(neighbors) > 2
        for line, strip, other, at in zip(lines, strips, neighbors, range(1, 9), strict=False):
            same = opened.shown.faces.labels[other] == opened.shown.faces.labels[focus]
            differing = np.flatnonzero(codes[other] != codes[focus]) + 1
            name = opened.shown.faces.names[opened.shown.faces.labels[other]]
            assert line == f"{at} {'✓' if same else '✗'} {len(differing)} bit{'s' * (len(differing) != 1)} · {name}"
            said = ", ".join(map(str, differing)) or "none"
            assert strip.get_attribute("title") == f"differs in bits {said}"
        verdict = answer.locator("p").inner_text()
        assert verdict.startswith("✗ wrong" if found.wrong[focus] else "✓ right")
        assert verdict.endswith(f"average precision {found.ap[focus]:.2f}")
    page.get_by_role("button", name="close").click()
    assert page.locator("#answer").is_hidden()


def test_who_is_found_by_name_on_the_atlas_is_selected_on_both_maps(opened):
    person = opened.shown.faces.names.index(HOSTILE)
    opened.page.locator("#find").fill("ONERROR")
    own = np.flatnonzero(opened.shown.faces.labels == person).tolist()
    assert opened.chosen() == [own, own]
    assert opened.page.locator("#status").inner_text() == f"{len(own)} selected"
    assert opened.page.locator("#about b").inner_text() == HOSTILE
    assert opened.page.locator(".selected button").count() == len(own)
    assert opened.page.locator("img").count() == 0
    opened.page.locator("#find").fill("nobody")
    assert opened.page.locator("#status").inner_text() == "no such person"
    assert opened.chosen() == [[], []]


def test_the_atlas_shows_what_is_wrong_alone(opened):
    first, second = (found.wrong for found in opened.found)
    assert first.any() and (first != second).any()
    visible = "[0, 1].map((m) => DOTS(m).view.filter.booleans)"
    for choice, expected in (("wrong", first | second), ("0", first & ~second), ("1", second & ~first)):
        opened.page.locator("#show").select_option(choice)
        assert opened.page.evaluate(visible) == [expected.tolist()] * 2
        assert opened.page.locator("#status").inner_text() == f"{expected.sum()} wrong"
    opened.page.locator("#show").select_option("all")
    assert np.all(opened.page.evaluate(visible))


def test_the_atlas_is_coloured_by_precision_by_one_bit_and_by_the_distance_to_the_centre(opened):
    def values() -> np.ndarray:
        drawn = "[0, 1].map((m) => [...DOTS(m).data_source.data[`value${m}`]])"
        return np.array(opened.page.evaluate(drawn), float)

    people = values()
    opened.page.locator("#color").select_option("ap")
    np.testing.assert_allclose(values(), [found.ap for found in opened.found], rtol=1e-6)
    opened.page.locator("#color").select_option("center")
    np.testing.assert_allclose(values(), [found.to_center for found in opened.found], rtol=1e-6)
    opened.page.locator("#color").select_option("bit")
    opened.page.locator("#bit").fill("11")
    np.testing.assert_array_equal(values(), [codes[:, 10] for codes in opened.codes])
    assert "bit 11 of 12" in opened.page.locator("#scale1").inner_text()
    opened.page.locator("#color").select_option("person")
    np.testing.assert_array_equal(values(), people)


def test_the_lasso_of_the_atlas_lists_its_faces_and_saves_them_as_csv(opened, tmp_path):
    page, n = opened.page, len(opened.shown.faces)
    page.evaluate(
        "Bokeh.index.roots[0].model.toolbar.tools.find((one) => one.type === 'LassoSelectTool').active = true"
    )
    opened.place(0)
    box = page.locator("#map0").bounding_box()
    left, top, right, low = box["x"] + 8, box["y"] + 8, box["x"] + box["width"] - 40, box["y"] + box["height"] - 12
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, low), (left, low), (left, top)):
        page.mouse.move(x, y, steps=8)
    page.mouse.up()
    assert opened.chosen() == [list(range(n))] * 2
    assert page.locator(".selected button").count() == min(n, 60)
    with page.expect_download() as download:
        page.locator("#save").click()
    download.value.save_as(tmp_path / "faces.csv")
    with (tmp_path / "faces.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [opened.shown.faces.names[label] for label in opened.shown.faces.labels]
    assert {row["kind"] for row in rows} == {"query", "gallery", "unseen query", "unseen gallery"}
    asked = opened.shown.kind % 2 == 0
    for found, title in zip(opened.found, ("seed 0: 12 bits", "seed 1: 12 bits"), strict=True):
        wrong = [row[f"{title}: wrong"] for row in rows]
        assert wrong == [str(int(one)) if query else "" for one, query in zip(found.wrong, asked, strict=True)]
        distances = [float(row[f"{title}: distance"]) for row in rows]
        np.testing.assert_array_equal(distances, found.distances[:, 0])


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from course.book import Book

    directory = tmp_path_factory.mktemp("book")
    Book().write(directory)
    return directory


def test_the_books_page_of_notebook_6_shows_the_face_with_the_network_cut(browser, book):
    with offline(browser) as page:
        page.goto((book / "index.html").as_uri())
        page.screenshot(path=SCREENSHOTS / "book.png", full_page=True)
        page.locator(f'h2 a[href="{NOTEBOOK}.html"]').click()
        frame = page.locator(".jp-Notebook iframe").first.element_handle().content_frame()
        hover_a_face(page, frame, "book_face", at=5)


@pytest.mark.parametrize("width", [1500, PHONE])
def test_all_pages_of_the_book_unpack_and_draw_with_the_network_cut(browser, book, width):
    pages = sorted(book.rglob("*.html"))
    for path in pages:
        with offline(browser, width) as page:
            page.goto(path.as_uri())
            packed = page.locator('div[id^="page-"]')
            for number in range(packed.count()):
                frame = packed.nth(number).locator("iframe").element_handle().content_frame()
                drawn = frame.locator("canvas, svg").first
                drawn.wait_for()
                assert drawn.bounding_box()["width"] > 50
            pictures = page.locator("img").evaluate_all("all => all.filter(one => !(one.complete && one.naturalWidth))")
            assert not pictures, path
            sideways = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert sideways <= 0, f"{path.name} is {sideways} pixels wider than the window"
            cut = page.locator(".jp-OutputArea-child").evaluate_all(
                "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText.slice(0, 40))"
            )
            assert not cut, f"{path.name}: outputs that are cut off at the right: {cut}"
            if path.parent == book:
                page.screenshot(path=SCREENSHOTS / f"book_{path.stem}_{width}.png", full_page=True)


@pytest.mark.parametrize("width", [1200, 390])
def test_a_report_fits_the_window_and_what_is_wide_scrolls_by_itself(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    wide = pd.DataFrame({"variant": ["full", "no_center"]} | {f"{bits} bits": "0.912 ± 0.013" for bits in range(12)})
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="900pt" height="300pt"/>'
    cells = [nbformat.v4.new_markdown_cell(f"# A report\n\n{markdown(wide)}"), nbformat.v4.new_code_cell("")]
    about = {"image/svg+xml": {"alt": "a wide figure"}}
    cells[1].outputs = [nbformat.v4.new_output("display_data", {"image/svg+xml": svg}, metadata=about)]
    path = tmp_path / "report.html"
    path.write_text(html_page(nbformat.v4.new_notebook(cells=cells), "A report", source=False, style=REPORT_STYLE))
    with offline(browser) as page:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        table = page.locator(".jp-RenderedMarkdown").first
        table.evaluate("table => table.scrollTo(10000, 0)")
        last, first = (page.locator(f"tbody tr:first-child td:{which}-child") for which in ("last", "first"))
        right = last.bounding_box()
        left = first.bounding_box()
        assert right is not None and right["x"] + right["width"] <= width + 1
        assert left is not None and left["x"] >= 0  # the name of the row stays
        image = page.get_by_alt_text("a wide figure").bounding_box()
        assert image is not None and (image["width"] >= 600 if width == 390 else image["width"] <= width)
        page.screenshot(path=SCREENSHOTS / f"report_{width}.png")


def test_on_a_phone_a_wide_picture_is_moved_and_not_made_small(browser, book):
    with offline(browser, PHONE) as page:
        page.goto((book / "05_retrieval.html").as_uri())
        wide = page.locator("img.unconfined").first
        assert wide.bounding_box()["width"] > 1.5 * PHONE
        frame = wide.locator("..")
        frame.evaluate("frame => { frame.scrollLeft = 100 }")
        assert frame.evaluate("frame => frame.scrollLeft") == 100
        output = page.locator(".columns pre").first  # a table printed in columns keeps its lines
        assert output.evaluate("pre => getComputedStyle(pre).whiteSpace") == "pre"
        words = page.locator(".sentences pre, .columns pre")
        breaks = words.evaluate_all("all => all.map((one) => getComputedStyle(one).wordBreak)")
        assert set(breaks) == {"normal"}


def test_the_search_leads_to_the_section(browser, book):
    with offline(browser) as page:
        page.goto((book / "index.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("weight deca")  # a word may be begun
        assert "Weight decay on the wrong list" in page.locator("#found a").first.inner_text()
        page.keyboard.press("Enter")
        page.wait_for_url("**/08_authors_code.html#*")
        assert page.locator("h2:target").inner_text() == "3. Weight decay on the wrong list"
        page.locator("#search").fill("weight decay xqzv")  # every word counts, and the last is in no text
        assert page.locator("#found").inner_text() == "Nothing found."
        page.keyboard.press("Escape")
        assert page.locator("#found").is_hidden()


def test_folded_code_opens_and_the_contents_stand_beside_the_text(browser, book):
    with offline(browser, 1500) as page:
        page.goto((book / "02_block_hashing.html").as_uri())
        code = page.locator("details.code")
        assert code.first.get_attribute("open") is None
        beside = page.locator("nav.contents").bounding_box()
        assert beside["x"] + beside["width"] <= page.locator("main h1").bounding_box()["x"]
        page.locator("nav.contents #all-code").click()
        assert code.evaluate_all("all => all.every((one) => one.open)")


def test_no_slide_is_fuller_than_the_screen_and_the_keys_lead_through_them(browser, tmp_path):
    from course import slides

    for path in slides.write(tmp_path):
        with offline(browser, 1280) as page:
            page.set_viewport_size({"width": 1280, "height": 720})
            page.goto(path.as_uri())
            page.wait_for_function("window.Reveal && Reveal.isReady()")
            page.keyboard.press("Space")
            assert page.evaluate("Reveal.getSlidePastCount()") == 1
            page.screenshot(path=SCREENSHOTS / f"slides_{path.stem}.png")
            heights = page.evaluate(HEIGHTS_OF_SLIDES)
            assert len(heights) > 10
            assert [(number, text) for number, (height, text) in enumerate(heights) if height > 720] == [], path.name
