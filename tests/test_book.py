"""The book of the course: nothing in it is loaded from outside, and its links lead somewhere.

Counted as loaded: every ``src``, ``srcset``, ``poster``, ``background`` and ``data`` of an element; every ``href``
except that of a link (``<a>``), which leads away only when somebody follows it; every ``url(...)`` and ``@import`` in
CSS; every import by a script; and the same in the pages that are packed inside pages. What scripts do when they run is
seen by the browser tests.
"""

import base64
import copy
import gzip
import io
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from course.book import FOLD, WIDE, Book
from nbformat.v4 import new_output
from PIL import Image

from ablations.pages import html_page, markdown_to_html, mathml

ROOT = Path(__file__).resolve().parent.parent

LOADING = {"src", "srcset", "poster", "background", "data", "xlink:href"}


class Page(HTMLParser):
    """What a page loads, links to, is linked to by, and shows as text."""

    def __init__(self, text: str):
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.formulas: list[str] = []
        self.prose: list[str] = []
        self.packed: list[Page] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside.append(tag)
        if tag in ("math", "p", "li", "td"):
            (self.formulas if tag == "math" else self.prose).append("")
        for name, value in attributes:
            value = value or ""
            if name in LOADING or (name == "href" and tag != "a"):
                self.loads.append(value)
            elif name == "href":
                self.links.append(value)
            elif name in ("id", "name"):
                self.anchors.add(value)
            elif name == "style":
                self.loads += in_css(value)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside[-1:] == ["style"]:
            self.loads += in_css(data)
        elif self.inside[-1:] == ["script"]:
            packed = re.findall(r'atob\("([^"]+)"\)', data)
            self.packed += [Page(gzip.decompress(base64.b64decode(page)).decode()) for page in packed]
            self.loads += re.findall(r"""(?:\bimport\s*\(?|\bfrom|importScripts\()\s*["'](https?:[^"']+)["']""", data)
        elif "math" in self.inside:
            self.formulas[-1] += data
        elif self.prose and not {"code", "pre"} & set(self.inside):
            self.prose[-1] += data


def in_css(text: str) -> list[str]:
    found = re.findall(r"""url\(\s*["']?([^"')]+)|@import\s*["']([^"']+)""", text)
    return [url or imported for url, imported in found]


def with_packed(page: Page) -> Iterator[Page]:
    yield page
    for inner in page.packed:
        yield from with_packed(inner)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("book")
    Book().write(directory)
    return directory


@pytest.fixture(scope="module")
def pages(directory):
    return {path: Page(path.read_text("utf-8")) for path in sorted(directory.rglob("*.html"))}


def test_a_browser_loads_nothing_from_outside_the_book(pages, directory):
    for path, page in pages.items():
        own = [address for address in page.loads if not address.startswith(("data:", "#"))]
        assert [address for address in own if not (path.parent / address).is_file()] == [], path
        for inner in page.packed:
            assert [a for deep in with_packed(inner) for a in deep.loads if not a.startswith(("data:", "#"))] == [], (
                path
            )


def test_every_link_inside_the_book_leads_to_a_file_and_to_an_anchor_of_it(pages, directory):
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"(https?|mailto):", link):
                continue
            target, _, anchor = link.partition("#")
            there = (path.parent / unquote(target)).resolve() if target else path
            assert there in pages, f"{path.name}: {link}"
            assert not anchor or unquote(anchor) in pages[there].anchors, f"{path.name}: {link}"


def test_every_notebook_has_a_page_that_the_others_lead_to(pages, directory):
    notebooks = [path.stem + ".html" for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
    assert set(notebooks) <= set(pages[directory / "index.html"].links)
    for before, name, after in zip([None, *notebooks], notebooks, [*notebooks[1:], None], strict=False):
        links = pages[directory / name].links
        assert {"index.html", before or "index.html", after or "index.html"} <= set(links)


def test_formulas_are_drawn_without_a_script(pages):
    assert any(page.formulas for page in pages.values())
    for path, page in pages.items():
        assert not [formula for formula in page.formulas if re.search(r"[\\&$]", formula)], path  # TeX left over
        assert not [text for text in page.prose if re.search(r"\$[^$]+\$", text)], path


def test_the_check_of_the_pages_sees_what_it_should():
    packed = base64.b64encode(gzip.compress(b'<script src="https://a/deep.js"></script>')).decode()
    page = Page(
        '<link href="https://a/x.css"><style>@import "https://a/y.css"; b { background: url(https://a/z.png) }</style>'
        '<img src="https://a/i.png"><p style="background: url(\'https://a/p.png\')">$x$</p><a href="https://cited">c</a>'
        f'<script>import x from "https://a/m.js"; await import("https://a/n.js"); atob("{packed}")</script>'
    )
    assert [Path(address).name for address in page.loads] == [
        "x.css",
        "y.css",
        "z.png",
        "i.png",
        "p.png",
        "m.js",
        "n.js",
    ]
    assert [address for inner in page.packed for address in inner.loads] == ["https://a/deep.js"]
    assert page.links == ["https://cited"]
    assert page.prose == ["$x$c"]


def test_links_between_notebooks_and_to_files_lead_to_pages_of_the_book():
    book = Book()
    first = book.chapters[0]
    assert book.link(first.path.name) == first.page
    assert book.link(f"{first.path.name}#The-faces") == f"{first.page}#The-faces"
    assert book.link("../dcbh_core/metrics.py") == "sources/dcbh_core/metrics.py.html"
    assert book.link("https://example.org/a.ipynb") == "https://example.org/a.ipynb"
    assert book.link("#To-read") == "#To-read"
    assert book.link("../ablations") is book.link("../missing.py") is None
    assert markdown_to_html("See [this](../missing.py).", book.link) == "<p>See this.</p>\n"


def test_a_bar_in_a_formula_is_a_bracket():
    assert mathml(r"\lVert x\rVert").count('<mo form="prefix" stretchy="false">&#x02016;</mo>') == 2
    assert mathml("|q|").count('<mo form="prefix" stretchy="false">') == 2
    assert mathml(r"\left|\frac12\right|").count('stretchy="true"') == 2
    assert "<mtable" in mathml(r"\begin{aligned}a &= b\\ c &= d\end{aligned}", "block")


def sections(directory: Path) -> list[list[str]]:
    """What the search holds: address, notebook, heading and text of each section."""
    line = (directory / "search.js").read_text("utf-8").splitlines()[0]
    return json.loads(line.removeprefix("const sections = "))


def test_the_search_knows_every_heading_of_every_notebook_and_every_word_of_the_glossary(directory, pages):
    for address, *_ in sections(directory):
        name, _, anchor = address.partition("#")
        assert anchor in pages[directory / name].anchors, address
    known = {heading for *_, heading, _ in sections(directory)}
    words = re.findall(r"^\| (\*\*.+?) \|", (ROOT / "docs/glossary.md").read_text("utf-8"), re.M)
    prose = [
        cell.source for chapter in Book().chapters for cell in chapter.content.cells if cell.cell_type == "markdown"
    ]
    headings = re.findall(r"^#{1,3} (.+?)\s*$", "\n\n".join(prose), re.M)
    assert len(words) > 20 and len(headings) > 50
    plain = {re.sub(r"[*`]", "", text) for text in words + headings if "$" not in text}
    assert plain - known == set()


def test_the_search_holds_prose_and_neither_code_nor_tags(directory):
    texts = {address: text for address, _, _, text in sections(directory)}
    task = texts["01_faces.html#The-task"]
    assert "There is a gallery" in task and "subtract the pixels" in task
    assert "argsort" not in task and "<" not in task and "\\" not in task


def test_each_page_lists_its_own_headings_and_its_quiz(directory, pages):
    for chapter in Book().chapters:
        prose = [cell.source for cell in chapter.content.cells if cell.cell_type == "markdown"]
        headings = re.findall(r"^#{2,3} .+", "\n\n".join(prose), re.M)
        inside = [link for link in pages[directory / chapter.page].links if link.startswith("#")]
        own = re.search(r'<nav class="contents">.*?</nav>', (directory / chapter.page).read_text("utf-8"), re.S)
        assert own and own[0].count("<li") == len(headings) + 1
        assert "#Test-yourself" in inside


def test_code_is_folded_when_it_is_long_and_outputs_in_columns_are_told_from_sentences():
    content = copy.deepcopy(Book().chapters[0].content)
    first, second = [cell for cell in content.cells if cell.cell_type == "code"][:2]
    first.source, second.source = "a = 1\n" * FOLD, "b = 2\n" * (FOLD + 1)
    first.outputs = [new_output("stream", text="one sentence in words\n")]
    second.outputs = [new_output("stream", text="a    1\nbb   2\n")]
    content.cells = [first, second]
    page = html_page(content, "title", fold=FOLD)
    assert page.count('<details class="code">') == 1
    assert f"Code, {FOLD + 1} lines" in page
    assert page.index("one sentence") > page.index('<div class="sentences">')
    assert page.index('<div class="columns">') > page.index("one sentence")
    assert '<details class="code">' not in html_page(content, "title")


def test_a_picture_of_several_panels_is_marked_as_wide(directory):
    text = "".join((directory / chapter.page).read_text("utf-8") for chapter in Book().chapters[:5])
    images = re.findall(r"<img [^>]*>", text)
    data = [re.search(r'src="data:image/png;base64,([^"]+)"', image) for image in images]
    wide = [
        ("unconfined" in image, Image.open(io.BytesIO(base64.b64decode(found[1]))).size)
        for image, found in zip(images, data, strict=True)
        if found
    ]
    assert {is_marked for is_marked, _ in wide} == {True, False}
    assert all(is_marked == (width > WIDE * height) for is_marked, (width, height) in wide)


def test_the_book_takes_any_number_of_notebooks(tmp_path):
    for name in ("01_faces", "05_retrieval"):
        shutil.copy(ROOT / f"notebooks/{name}.ipynb", tmp_path)
    Book(tmp_path).write(tmp_path / "book")
    assert {path.name for path in (tmp_path / "book").glob("0*.html")} == {"01_faces.html", "05_retrieval.html"}
    assert "5. Retrieval →" in (tmp_path / "book/01_faces.html").read_text("utf-8")


def test_the_glossary_has_the_words_that_the_course_takes_for_granted(directory):
    known = " ".join(heading for _, page, heading, _ in sections(directory) if page == "Glossary").lower()
    for word in ("precision", "recall", "logit", "softmax", "cross-entropy", "gradient", "batch normalisation", "adam"):
        assert word in known
    meanings = " ".join(text for _, page, _, text in sections(directory) if page == "Glossary")
    assert "nat" in re.findall(r"\w+", meanings)
