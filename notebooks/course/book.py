"""The notebooks as one site of linked pages, to be read without a kernel and without a network.

``python -m course.book DIRECTORY``, from ``notebooks/``, writes into the directory: ``index.html``, a page for each
notebook as it is committed (nothing is executed), and a page for each file of the repository that a notebook links to.
"""

from __future__ import annotations

import argparse
import base64
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename

from ablations.pages import html_page, markdown_to_html

NOTEBOOKS = Path(__file__).resolve().parent.parent
ROOT = NOTEBOOKS.parent
SOURCES = {".py", ".yaml", ".csv", ".md", ".toml"}  # files that get a page when a notebook links to them

TITLE = "Learning to hash faces"
ABOUT = """A course on short binary codes: how a network turns a photograph of a face into a few dozen bits, so that
photographs of one person lie close together, and how to find out whether it has worked. It is told through one method,
*Deep Clustering and Block Hashing* (DCBH; Jang, Jeong, Lee and Cho, ACCV 2018), from the first pixels to galleries of
millions of codes.

Each page is a notebook of 15 to 30 minutes, with the figures that its code computed. Interactive figures work here, and
none of it needs a network. For the **exercises**, whose checks answer you, open the notebooks in JupyterLab with
`make lab`."""

STYLE = """
body { max-width: 62rem; margin: 0 auto; padding: 0 1rem 3rem; background: white; overflow: visible;
  font: 16px/1.55 system-ui, sans-serif; color: #222; }
body.jp-Notebook { --jp-content-font-size1: 16px; --jp-code-font-size: 13px; padding: 0 1rem 3rem; overflow: visible; }
body a { color: #0b5cad; }
a code { color: inherit; text-decoration: underline; }
.jp-InputArea-editor { overflow-x: auto; }
.jp-RenderedHTMLCommon { line-height: 1.55; }
.jp-RenderedImage img, .jp-RenderedMarkdown img { max-width: 100%; height: auto; }
nav.course { display: flex; flex-wrap: wrap; gap: 1rem; justify-content: space-between; padding: .8rem 5px;
  font: 15px system-ui, sans-serif; border-bottom: 1px solid #ddd; }
nav.course:last-of-type { border-bottom: 0; border-top: 1px solid #ddd; margin-top: 2rem; }
nav.course > * { flex: 1; }
nav.course > :nth-child(2) { text-align: center; }
nav.course > :nth-child(3) { text-align: right; }
"""
INDEX_STYLE = """
ol.notebooks { list-style: none; padding: 0; }
ol.notebooks li { display: grid; grid-template-columns: 15rem 1fr; gap: 1.5rem; padding: 1.2rem 0; }
ol.notebooks li { border-top: 1px solid #ddd; }
ol.notebooks h2 { margin: 0 0 .3rem; font-size: 1.15rem; }
ol.notebooks p { margin: 0; }
ol.notebooks img { width: 15rem; height: 9rem; object-fit: cover; object-position: left top; border: 1px solid #eee; }
@media (max-width: 40rem) { ol.notebooks li { grid-template-columns: 1fr; } }
"""


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
        for before, chapter, after in zip(
            [None, *self.chapters], self.chapters, [*self.chapters[1:], None], strict=False
        ):
            ways = [f'<a href="{before.page}">← {escape(before.title)}</a>' if before else "<span></span>"]
            ways += ['<a href="index.html">Contents</a>']
            ways += [f'<a href="{after.page}">{escape(after.title)} →</a>' if after else "<span></span>"]
            navigation = f'<nav class="course">{"".join(ways)}</nav>'
            page = html_page(
                chapter.content,
                chapter.title,
                style=STYLE,
                before=navigation,
                after=navigation,
                link=self.link,
                path=NOTEBOOKS,
            )
            (directory / chapter.page).write_text(page, "utf-8")
            if chapter.picture:
                (directory / f"{chapter.path.stem}.png").write_bytes(chapter.picture)
        (directory / "index.html").write_text(self.index(), "utf-8")
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
        body = f'<h1>{TITLE}</h1>{markdown_to_html(ABOUT)}<ol class="notebooks">{"".join(items)}</ol>'
        return _bare_page(TITLE, body, INDEX_STYLE)


def _read(path: Path) -> Chapter:
    content = nbformat.read(path, as_version=4)
    first = content.cells[0].source
    [title] = re.findall(r"^# (.+)", first)
    learn = re.search(r"\*\*What you will learn\.\*\*\s*(.+?)(?:\n\n|\Z)", first, re.S)
    pictures = [
        output.data["image/png"]
        for cell in content.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", ())
    ]
    picture = base64.b64decode(pictures[0]) if pictures else None
    return Chapter(path, content, title, learn[1] if learn else "", picture)


def _source_page(path: Path) -> str:
    return f"sources/{path.relative_to(ROOT).as_posix()}.html"


def _source(path: Path) -> str:
    """A file of the repository as a page."""
    name = path.relative_to(ROOT).as_posix()
    formatter = HtmlFormatter(linenos="inline")
    text = highlight(path.read_text("utf-8"), get_lexer_for_filename(path.name), formatter)
    contents = "../" * name.count("/") + "../index.html"
    body = f'<nav class="course"><a href="{contents}">Contents</a></nav><h1>{escape(name)}</h1>{text}'
    return _bare_page(name, body, formatter.get_style_defs(".highlight") + "pre { overflow-x: auto; font-size: 14px; }")


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
