"""The notebooks as one site of linked pages, to be read without a kernel and without a network.

``python -m course.book DIRECTORY``, from ``notebooks/``, writes into the directory: ``index.html``, a page for each
notebook as it is committed (nothing is executed), the glossary, a page for each file of the repository that a notebook
links to, and ``search.js``, which holds the text of all sections and the search in it.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from bs4 import BeautifulSoup
from PIL import Image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename

from ablations.pages import html_page, markdown_to_html

from . import quiz

NOTEBOOKS = Path(__file__).resolve().parent.parent
ROOT = NOTEBOOKS.parent
GLOSSARY = ROOT / "docs/glossary.md"
SOURCES = {".py", ".yaml", ".csv", ".md", ".toml"}  # files that get a page when a notebook links to them

TITLE = "Learning to hash faces"
ABOUT = """A course on short binary codes: how a network turns a photograph of a face into a few dozen bits, so that
photographs of one person lie close together, and how to find out whether it has worked. It is told through one method,
*Deep Clustering and Block Hashing* (DCBH; Jang, Jeong, Lee and Cho, ACCV 2018), from the first pixels to galleries of
millions of codes.

Each page is a notebook of 15 to 30 minutes, with the figures that its code computed. Interactive figures work here, and
none of it needs a network. For the **exercises**, whose checks answer you, open the notebooks in JupyterLab with
`make lab`."""

FOLD = 14  # lines of source: a longer cell is folded, to be opened by a click

STYLE = """
body { max-width: 62rem; margin: 0 auto; padding: 0 1rem 3rem; background: white; overflow: visible;
  font: 16px/1.55 system-ui, sans-serif; color: #222; }
body.jp-Notebook { --jp-content-font-size1: 16px; --jp-code-font-size: 13px; padding: 0 1rem 3rem; overflow: visible; }
body a { color: #0b5cad; }
a code { color: inherit; text-decoration: underline; }
main { min-width: 0; }
.jp-InputArea-editor { overflow-x: auto; }
.jp-RenderedHTMLCommon { line-height: 1.55; }
.jp-RenderedImage img, .jp-RenderedSVG img, .jp-RenderedMarkdown img { max-width: 100%; height: auto; }
/* Jupyter's own style lays outputs out as rows of tables, which cannot scroll, and breaks them at any letter. */
body .jp-OutputArea .jp-OutputArea-child, body .jp-OutputArea .jp-OutputArea-child .jp-OutputArea-output {
  display: block; width: auto; }
.jp-RenderedText pre { word-break: normal; overflow-wrap: normal; overflow-x: auto; }
.columns .jp-RenderedText pre { white-space: pre; }
.jp-RenderedHTMLCommon table { display: block; max-width: 100%; overflow-x: auto; }
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th { word-break: normal; overflow-wrap: normal; }
details.code > summary { cursor: pointer; color: #555; font-size: 14px; padding: .2rem 5px; }
#all-code { font: inherit; color: #0b5cad; background: none; border: 0; padding: .3rem 0; cursor: pointer; }
nav.course { display: grid; grid-template-columns: 1fr auto 1fr; gap: .4rem 1rem; align-items: center;
  padding: .8rem 5px; font: 15px/1.4 system-ui, sans-serif; border-bottom: 1px solid #ddd; }
nav.course:last-of-type { border-bottom: 0; border-top: 1px solid #ddd; margin-top: 2rem; }
nav.course > :nth-child(3) { text-align: right; }
.searching { position: relative; grid-column: 1 / -1; }
#search { width: 100%; box-sizing: border-box; font: inherit; padding: .35rem .6rem; border: 1px solid #aaa;
  border-radius: 4px; }
#found { position: absolute; z-index: 20; left: 0; right: 0; max-height: 70vh; overflow-y: auto; background: white;
  border: 1px solid #aaa; box-shadow: 0 4px 12px #0003; padding: .4rem .6rem; }
#found a { display: block; padding: .4rem 0; color: #222; text-decoration: none; border-bottom: 1px solid #eee; }
#found a:hover, #found a:focus { background: #eef4fb; }
#found b { color: #0b5cad; margin-right: .6rem; }
#found small { color: #666; }
#found span { display: block; font-size: 14px; }
nav.contents { font: 14px/1.4 system-ui, sans-serif; padding: .6rem 5px; }
nav.contents summary { cursor: pointer; }
nav.contents ul { list-style: none; margin: .3rem 0 0; padding: 0; }
nav.contents li { padding: .15rem 0; }
nav.contents li.h3 { padding-left: 1rem; }
nav.contents a { text-decoration: none; }
section.quiz { padding: 0 5px; }
section.quiz ol { list-style: lower-alpha; }
section.quiz details { margin: .3rem 0 1rem; }
section.quiz summary { cursor: pointer; color: #0b5cad; }
@media (min-width: 84rem) {
  body.jp-Notebook { box-sizing: border-box; max-width: 82rem; padding-left: 19rem; }
  nav.contents { position: fixed; top: 1rem; bottom: 1rem; width: 16rem; overflow-y: auto;
    left: max(1rem, calc(50vw - 40rem)); }
}
/* On a phone, what is wide is moved sideways under the finger and not made small. */
@media (max-width: 48rem) {
  .jp-RenderedImage, .jp-RenderedSVG, div[id^="page-"] { overflow-x: auto; }
  .jp-RenderedImage img.unconfined { max-width: 52rem; }
  .jp-RenderedSVG img { max-width: none; width: 40rem; }
  div[id^="page-"] iframe { min-width: 46rem; }
}
@media print { nav, #all-code { display: none !important; } }
"""
INDEX_STYLE = """
ol.notebooks { list-style: none; padding: 0; }
ol.notebooks li { display: grid; grid-template-columns: 15rem 1fr; gap: 1.5rem; padding: 1.2rem 0; }
ol.notebooks li { border-top: 1px solid #ddd; }
ol.notebooks h2 { margin: 0 0 .3rem; font-size: 1.15rem; }
ol.notebooks p { margin: 0; }
ol.notebooks img { width: 15rem; height: auto; max-height: 12rem; object-fit: contain; object-position: left top; }
table { border-collapse: collapse; }
td, th { border-bottom: 1px solid #ddd; padding: .4rem .8rem .4rem 0; text-align: left; vertical-align: top; }
@media (max-width: 40rem) { ol.notebooks li { grid-template-columns: 1fr; } }
"""
WIDE = 1.7  # a picture so many times as wide as it is high holds several panels


class Section(NamedTuple):
    """What the search knows of a section of a page."""

    address: str
    page: str  # its title
    heading: str
    text: str


@dataclass
class Chapter:
    """A notebook, and what the other pages say about it."""

    path: Path
    content: Any
    title: str
    learn: str  # the paragraph "What you will learn", in Markdown
    picture: bytes | None  # the first figure, as PNG

    @property
    def page(self) -> str:
        return f"{self.path.stem}.html"

    @property
    def short(self) -> str:
        return self.title.partition(":")[0]


class Book:
    """What has been read of the notebooks, and where links in them lead."""

    def __init__(self, notebooks: Path = NOTEBOOKS):
        self.chapters = [_read(path) for path in sorted(notebooks.glob("[0-9]*.ipynb"))]
        self.pages = {chapter.path: chapter.page for chapter in self.chapters}
        self.sources: set[Path] = set()

    def link(self, address: str) -> str | None:
        """Where an address in a notebook leads in the book: to another page, to the page of a file of the repository,
        to where it led before (the web, a heading), or nowhere (None)."""
        target, hash_, anchor = address.partition("#")
        if not target or ":" in target:
            return address
        path = (NOTEBOOKS / target).resolve()
        if path in self.pages:
            return self.pages[path] + hash_ + anchor
        if path.suffix in SOURCES and path.is_file() and path.is_relative_to(ROOT):
            self.sources.add(path)
            return _source_page(path)
        return None

    def write(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        questions = quiz.read()
        sections: list[Section] = []
        for before, chapter, after in zip(
            [None, *self.chapters], self.chapters, [*self.chapters[1:], None], strict=False
        ):
            ways = [f'<a href="{before.page}">← {escape(before.short)}</a>' if before else "<span></span>"]
            ways += ['<a href="index.html">Contents</a>']
            ways += [f'<a href="{after.page}">{escape(after.short)} →</a>' if after else "<span></span>"]
            ways_on = "".join(ways)
            asked = quiz.html(questions.get(chapter.path.stem, []))
            contents = _contents(chapter, bool(asked))
            sections += _sections(chapter)
            page = html_page(
                chapter.content,
                chapter.title,
                fold=FOLD,
                style=STYLE,
                before=f'<nav class="course">{ways_on}{SEARCH}</nav>{contents}',
                after=f'{asked}<nav class="course">{ways_on}</nav><script src="search.js"></script>',
                link=self.link,
                path=NOTEBOOKS,
            )
            (directory / chapter.page).write_text(page, "utf-8")
            if chapter.picture:
                (directory / f"{chapter.path.stem}.png").write_bytes(chapter.picture)
        glossary, words = _glossary()
        (directory / "glossary.html").write_text(glossary, "utf-8")
        (directory / "index.html").write_text(self.index(), "utf-8")
        search = (Path(__file__).parent / "search.js").read_text("utf-8")
        held = json.dumps([*sections, *words], ensure_ascii=False, separators=(",", ":"))
        (directory / "search.js").write_text(f"const sections = {held}\n{search}", "utf-8")
        for path in sorted(self.sources):
            page_path = directory / _source_page(path)
            page_path.parent.mkdir(parents=True, exist_ok=True)
            page_path.write_text(_source(path), "utf-8")

    def index(self) -> str:
        items = []
        for chapter in self.chapters:
            picture = f'<img src="{chapter.path.stem}.png" alt="">' if chapter.picture else ""
            items.append(
                f'<li><a href="{chapter.page}" tabindex="-1">{picture}</a><div><h2><a href="{chapter.page}">'
                f"{escape(chapter.title)}</a></h2>{markdown_to_html(chapter.learn, self.link)}</div></li>"
            )
        words = "<p>Each word in one line: the <a href='glossary.html'>glossary</a>.</p>"
        body = f'<h1>{TITLE}</h1>{SEARCH}{markdown_to_html(ABOUT)}{words}<ol class="notebooks">{"".join(items)}</ol>'
        return _bare_page(TITLE, body + '<script src="search.js"></script>', INDEX_STYLE)


SEARCH = """<div class="searching"><input type="search" id="search" placeholder="Search the course" autocomplete="off"
  aria-label="Search the course"><div id="found" hidden></div></div>"""


def _sections(chapter: Chapter) -> list[Section]:
    """The prose of a notebook, cut at its headings."""
    prose = "\n\n".join(cell.source for cell in chapter.content.cells if cell.cell_type == "markdown")
    page = _soup(prose)
    for formula in page.find_all("math"):
        formula.replace_with("…")
    found: list[Section] = []
    for element in page.find_all(recursive=False):
        text = " ".join(element.get_text(" ").split())
        if element.name in ("h1", "h2", "h3"):
            found.append(Section(f"{chapter.page}#{element['id']}", chapter.short, text, ""))
        elif found:
            found[-1] = found[-1]._replace(text=f"{found[-1].text} {text}".strip())
    return found


def _contents(chapter: Chapter, quiz: bool) -> str:
    """The headings of a notebook, linked."""
    page = _soup("\n\n".join(cell.source for cell in chapter.content.cells if cell.cell_type == "markdown"))
    items = [
        f'<li class="{heading.name}"><a href="#{escape(str(heading["id"]))}">{escape(heading.get_text())}</a></li>'
        for heading in page.find_all(["h2", "h3"])
    ]
    if quiz:
        items.append('<li class="h2"><a href="#Test-yourself">Test yourself</a></li>')
    return (
        f'<nav class="contents"><details><summary>On this page</summary><ul>{"".join(items)}</ul>'
        '<button type="button" id="all-code">Open all code</button></details></nav>'
    )


def _soup(markdown: str) -> BeautifulSoup:
    return BeautifulSoup(markdown_to_html(markdown, path=NOTEBOOKS), "html.parser")


def _glossary() -> tuple[str, list[Section]]:
    """The glossary as a page, each word with an anchor, and what the search knows of it.

    Its links into the repository are left out, as the book does not hold those pages.
    """
    text = GLOSSARY.read_text("utf-8")
    page = BeautifulSoup(markdown_to_html(text, lambda address: address if ":" in address else None), "html.parser")
    found = []
    for row in page.select("tbody tr"):
        word, meaning = (cell.get_text() for cell in row.find_all("td"))
        row["id"] = re.sub(r"\W+", "-", word.lower()).strip("-")
        found.append(Section(f"glossary.html#{row['id']}", "Glossary", word, meaning))
    top = f'<nav class="course"><span></span><a href="index.html">Contents</a><span></span>{SEARCH}</nav>'
    return _bare_page("Glossary", f'{top}{page}<script src="search.js"></script>', INDEX_STYLE), found


def _read(path: Path) -> Chapter:
    content = nbformat.read(path, as_version=4)
    first = content.cells[0].source
    [title] = re.findall(r"^# (.+)", first)
    learn = re.search(r"\*\*What you will learn\.\*\*\s*(.+?)(?:\n\n|\Z)", first, re.S)
    pictures = []
    for cell in content.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                pictures.append(base64.b64decode(output.data["image/png"]))
                width, height = Image.open(io.BytesIO(pictures[-1])).size
                if width > WIDE * height:  # Jupyter's own word for a picture that may be wider than the page
                    output.metadata.setdefault("image/png", {})["unconfined"] = True
    return Chapter(path, content, title, learn[1] if learn else "", pictures[0] if pictures else None)


def _source_page(path: Path) -> str:
    return f"sources/{path.relative_to(ROOT).as_posix()}.html"


def _source(path: Path) -> str:
    """A file of the repository as a page."""
    name = path.relative_to(ROOT).as_posix()
    formatter = HtmlFormatter(linenos="inline")
    text = highlight(path.read_text("utf-8"), get_lexer_for_filename(path.name), formatter)
    contents = "../" * name.count("/") + "../index.html"
    body = f'<nav class="course"><a href="{contents}">Contents</a></nav><h1>{escape(name)}</h1>{text}'
    return _bare_page(
        name,
        body,
        formatter.get_style_defs(".highlight")
        + "pre { overflow-x: auto; font-size: 14px; } h1 { overflow-wrap: anywhere; }",
    )


def _bare_page(title: str, body: str, style: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>{body}</body></html>\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the pages are written")
    out = parser.parse_args().directory
    Book().write(out)
    print(f"The book: {(out / 'index.html').resolve()}")
