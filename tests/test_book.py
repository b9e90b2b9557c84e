"""The book of the course: nothing in it is loaded from outside, and its links lead somewhere.

Counted as loaded: every ``src``, ``srcset``, ``poster``, ``background`` and ``data`` of an element; every ``href``
except that of a link (``<a>``), which leads away only when somebody follows it; every ``url(...)`` and ``@import`` in
CSS; every import by a script; and the same in the pages that are packed inside pages. What scripts do when they run is
seen by the browser tests.
"""

import base64
import gzip
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from course.book import Book

from ablations.pages import markdown_to_html, mathml

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
