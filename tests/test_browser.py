"""The notebooks in a real browser: notebook 6 run in JupyterLab, and with the network cut the book and the slides.

Screenshots are kept in ``runs/screenshots``.
"""

from __future__ import annotations

import contextlib
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
import psutil
import pytest

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

# The place of one face on the first map of a Bokeh page, in pixels of the window, and the name of its person.
PLACE_OF_A_FACE = """() => {
    const [root] = Bokeh.index.roots, [plot] = root.child_views;
    const glyphs = plot.model.renderers[0], data = glyphs.data_source.data, at = %d;
    const canvas = plot.canvas_view.el.getBoundingClientRect();
    return {
        x: canvas.x + plot.frame.x_scale.compute(data[glyphs.glyph.x.field][at]),
        y: canvas.y + plot.frame.y_scale.compute(data[glyphs.glyph.y.field][at]),
        name: data.name[at],
    };
}"""


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
    faces = frame.locator(".bk-Tooltip img:visible")
    faces.first.wait_for()
    assert 1 <= faces.count() <= 3
    for face in faces.all():
        assert face.evaluate("face => face.decode().then(() => face.naturalWidth)") == 32
    assert place["name"] in frame.locator(".bk-Tooltip b:visible").all_inner_texts()
    page.screenshot(path=SCREENSHOTS / f"{picture}.png")


@contextlib.contextmanager
def offline(browser: Browser, width: int = 1200) -> Iterator[Page]:
    """A window without a network. Nothing may ask for one, and no script may complain."""
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
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


def test_the_map_that_notebook_6_exports_shows_the_face_with_the_network_cut(browser, executed, workplace):
    with offline(browser) as page:
        page.goto((workplace / "runs/train/codes.html").as_uri())
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
        page.locator("#search").fill("no such word anywhere")
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
