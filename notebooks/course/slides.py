"""The notebooks as slides, by nbconvert and reveal.js, each one file that needs no network.

``python -m course.slides DIRECTORY``, from ``notebooks/``. What goes on which slide follows from the notebooks as they
are: a heading begins a slide, what does not fit goes on below it, a figure stands with the sentence that says where to
look. The speaker's notes (key S) are the model answers, where they have not been taken out.

reveal.js (MIT) comes with the package sphinx-revealjs, of which nothing else is used.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import DictLoader
from nbconvert import SlidesExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ablations.pages import STYLE, WIDGET, markdown_to_html

from . import prompts

NOTEBOOKS = Path(__file__).resolve().parent.parent
LINES = 13  # of text on a slide
LETTERS = 78  # in a line
SHORT = 10  # lines of source: a longer cell is not shown

SLIDES_STYLE = """
html, body, main { height: 100%; margin: 0; padding: 0; overflow: hidden; }
.reveal { font: 28px/1.4 system-ui, sans-serif; color: #222; --jp-content-font-size1: 28px; 
  --jp-code-font-size: 20px; }
.reveal .slides { text-align: left; }
.reveal .jp-Cell { padding: 0; }
.reveal h1 { font-size: 48px !important; }
.reveal h2 { font-size: 36px !important; }
.reveal h3 { font-size: 30px !important; }
.reveal h6 { font: 17px system-ui, sans-serif !important; color: #777 !important; margin: 0 0 .5rem; }
.reveal .jp-RenderedHTMLCommon { font-size: 28px; line-height: 1.4; padding-right: 0; }
.reveal .celltag_bare .jp-Cell-inputWrapper { display: none; }
.reveal .jp-RenderedImage img, .reveal .jp-RenderedSVG img { display: block; width: 100%; height: 500px;
  object-fit: contain; }
.reveal .jp-RenderedText pre { font-size: 17px; word-break: normal; max-height: 480px; overflow: auto; }
.reveal .jp-OutputArea-child { display: block; } .reveal .jp-OutputArea-output { display: block; overflow: auto; }
.reveal table { font-size: 17px; }
.reveal .jp-OutputArea-output:has(table) { max-height: 500px; }
.reveal div[id^="page-"] { height: 500px; overflow: auto; background: white; }
.reveal a.anchor-link { display: none; }
.reveal .progress { color: #0b5cad; } .reveal .controls { color: #0b5cad; }
"""

_TEMPLATE = """{% extends 'reveal/index.html.j2' %}
{% block header %}<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{{ nb.metadata.title }}</title>
<!-- {{ resources.license }} -->
<style>{{ resources.reveal_css }}</style>
{% for css in resources.inlining.css %}<style>{{ css }}</style>{% endfor %}
{{ resources.include_css("static/index.css") }}{{ resources.include_css("static/theme-light.css") }}
<style>{{ resources.style }}</style></head>{% endblock %}
{% block footer_js %}<script>{{ resources.reveal_js }}</script><script>{{ resources.notes_js }}</script>
<script>Reveal.initialize({width: 1280, height: 720, margin: 0.03, center: false, hash: true, slideNumber: "c/t",
  transition: "none", plugins: [RevealNotes]})</script>{% endblock %}
"""


def slides(content: Any, answers: list[tuple[str, str]]) -> Any:
    """A notebook cut into slides.

    Args:
        content: The notebook, as nbformat reads it; its own metadata of slides do not matter.
        answers: First words of a prompt -> what the speaker's notes say about it (``prompts.answers``).

    Returns:
        A notebook whose cells carry nbconvert's metadata of slides.
    """
    deck = _Deck(answers)
    cells = list(content.cells)
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            for block in _blocks(cell.source):
                deck.text(block)
        elif cell.cell_type == "code" and not cell.source.startswith("check("):
            if len(cell.source.splitlines()) <= SHORT and not any("data" in output for output in cell.outputs):
                deck.code(cell)
            following = cells[place + 1].source if place + 1 < len(cells) else ""
            deck.outputs(cell, _lead(following))
    title = re.search(r"(?m)^# (.+)", content.cells[0].source)
    return new_notebook(cells=deck.cells, metadata={**content.metadata, "title": title[1] if title else ""})


class _Deck:
    """The cells of the slides so far, and how many lines the last slide holds."""

    def __init__(self, answers: list[tuple[str, str]]):
        self.answers = answers
        self.cells: list[Any] = []
        self.heading = ""
        self.lines = 0.0

    def add(self, cell: Any, kind: str, lines: float) -> None:
        cell.metadata["slideshow"] = {"slide_type": kind}
        self.cells.append(cell)
        self.lines = lines if kind in ("slide", "subslide") else self.lines + lines

    def below(self) -> None:
        """Begin a slide below the last one, under the same heading."""
        self.add(new_markdown_cell(f"###### {self.heading}"), "subslide", 1)

    def text(self, block: str) -> None:
        if heading := re.match(r"(#{1,3}) (.+)", block):
            self.heading = heading[2]
            self.add(new_markdown_cell(heading[0]), "slide" if len(heading[1]) < 3 else "subslide", 2)
            block = block[heading.end() :].strip()
            if not block:
                return
        lines = _lines(block)
        if self.lines + lines > LINES:
            self.below()
        self.add(new_markdown_cell(block), "-", lines)
        self.note(block)

    def note(self, block: str) -> None:
        said = prompts.plain(block.removeprefix("- "))
        for first, answer in self.answers:
            if said.startswith(first) or any(prompts.plain(item).startswith(first) for item in block.split("\n- ")):
                self.add(new_markdown_cell(answer), "notes", 0)

    def code(self, cell: Any) -> None:
        lines = 0.9 * len(cell.source.splitlines()) + 1
        if self.lines + lines > LINES:
            self.below()
        shown = new_code_cell(cell.source, execution_count=cell.execution_count)
        self.add(shown, "-", lines)

    def outputs(self, cell: Any, lead: str) -> None:
        """The outputs of a cell, each picture or table on a slide of its own with the sentence that leads to it."""
        for output in cell.outputs:
            data = output.get("data", {})
            if WIDGET in data:
                continue
            shown = new_code_cell(
                "", outputs=[output], execution_count=cell.execution_count, metadata={"tags": ["bare"]}
            )
            if {"image/png", "image/svg+xml", "text/html"} & set(data):
                self.below()
                if lead:
                    self.add(new_markdown_cell(lead), "-", 0)
                self.add(shown, "-", LINES)
                self.note(lead)
            else:
                text = output.get("text") or data.get("text/markdown") or data.get("text/plain", "")
                lines = 0.8 * len(text.splitlines()) + _lines(text) * (output.output_type != "stream")
                if self.lines + lines > LINES:
                    self.below()
                self.add(shown, "-", lines)


def _blocks(source: str) -> list[str]:
    """Paragraphs, lists cut into their items, and headings, each with what follows it on the next line."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", source.strip()):
        blocks += re.split(r"\n(?=- )", block) if block.startswith("- ") else [block]
    return blocks


def _lines(block: str) -> float:
    """About how many lines a block of Markdown takes on a slide."""
    formulas = len(re.findall(r"\$\$", block)) / 2
    return sum(len(line) // LETTERS + 1 for line in [prompts.plain(block)]) + 2 * formulas + 0.6


def _lead(source: str) -> str:
    """The words in italics with which a text begins, if they are long their first sentence alone, or nothing."""
    found = re.match(r"\*(?!\*|Hint)([^*]+)\*", source)
    if found is None:
        return ""
    said = found[1].strip()
    return f"*{said}*" if len(said) <= 2 * LETTERS else f"*{re.split(r'(?<=[.;?])', said)[0]}*"


def page(content: Any, answers: list[tuple[str, str]]) -> str:
    """The slides of a notebook as one HTML page that loads nothing.

    Raises:
        ModuleNotFoundError: The package sphinx-revealjs, which brings reveal.js, is not installed.
    """
    reveal = reveal_directory()
    exporter = SlidesExporter(
        extra_loaders=[DictLoader({"slides.html.j2": _TEMPLATE})],
        template_file="slides.html.j2",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    exporter.register_filter("markdown2html", lambda source: markdown_to_html(source, _nowhere, NOTEBOOKS))
    text = {
        "license": (reveal / "LICENSE").read_text("utf-8"),
        "reveal_css": (reveal / "dist/reset.css").read_text("utf-8") + (reveal / "dist/reveal.css").read_text("utf-8"),
        "reveal_js": _inline(reveal / "dist/reveal.js"),
        "notes_js": _inline(reveal / "plugin/notes/notes.js"),
        "style": STYLE + SLIDES_STYLE,
    }
    made, _ = exporter.from_notebook_node(slides(content, answers), resources=text)
    return str(made)


def reveal_directory() -> Path:
    """Where reveal.js lies."""
    found = importlib.util.find_spec("sphinx_revealjs")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("slides need the package sphinx-revealjs, which brings reveal.js")
    return Path(found.submodule_search_locations[0]) / "_static/revealjs"


def _inline(path: Path) -> str:
    """A script as it can stand inside a page."""
    return path.read_text("utf-8").replace("</script", "<\\/script").replace("//# sourceMappingURL", "//")


def _nowhere(address: str) -> str | None:
    return address if re.match(r"https?:", address) else None


def write(directory: Path, notebooks: Path = NOTEBOOKS) -> list[Path]:
    """Write the slides of all notebooks, and return their files."""
    directory.mkdir(parents=True, exist_ok=True)
    answers = prompts.answers()
    written = []
    for path in sorted(notebooks.glob("[0-9]*.ipynb")):
        written.append(directory / f"{path.stem}.html")
        written[-1].write_text(page(nbformat.read(path, as_version=4), answers.get(path.stem, [])), "utf-8")
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the slides are written")
    for file in write(parser.parse_args().directory):
        print(file.resolve())
