"""The slides made from the notebooks: nothing is loaded, nothing that a notebook shows or asks is lost, and the
speaker's notes stand on the slide of their prompt."""

import re
from pathlib import Path

import nbformat
import pytest
from course import prompts, slides
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ablations.pages import WIDGET
from tests.test_book import Page, with_packed

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("[0-9]*.ipynb"))


def decks(path: Path) -> tuple[nbformat.NotebookNode, nbformat.NotebookNode]:
    """A notebook, and its slides."""
    content = nbformat.read(path, as_version=4)
    return content, slides.slides(content, [])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_slides_hold_all_prose_and_all_outputs_once(path):
    content, deck = decks(path)
    outputs = [
        output
        for cell in content.cells
        if cell.cell_type == "code" and not cell.source.startswith("check(")
        for output in cell.outputs
        if WIDGET not in output.get("data", {})
    ]
    assert [output for cell in deck.cells if cell.cell_type == "code" for output in cell.outputs] == outputs
    words = prompts.plain(" ".join(cell.source for cell in deck.cells if cell.cell_type == "markdown"))
    for cell in content.cells:
        if cell.cell_type == "markdown":
            for block in re.split(r"\n\s*\n|\n(?=- )", re.sub(r"(?m)^(#+ .+)$", r"\1\n\n", cell.source)):
                assert prompts.plain(block) in words


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_heading_begins_a_slide(path):
    content, deck = decks(path)
    headings = re.findall(r"(?m)^#{1,3} .+", "\n".join(c.source for c in content.cells if c.cell_type == "markdown"))
    begun = [cell.source for cell in deck.cells if cell.metadata.slideshow.slide_type in ("slide", "subslide")]
    assert [source for source in begun if not source.startswith("######")] == headings


def test_the_page_loads_nothing_and_carries_the_licence():
    page = Page(text := slides.page(nbformat.read(NOTEBOOKS[1], as_version=4), []))
    loads = [address for inner in with_packed(page) for address in inner.loads]
    assert [address for address in loads if not address.startswith(("data:", "#"))] == []
    assert "Permission is hereby granted, free of charge" in text
    assert "require(" not in text.split("Reveal.initialize")[1]


CELLS = [
    new_markdown_cell("# Title\n\nText."),
    new_code_cell("plot()", outputs=[new_output("display_data", {"image/png": "aaaa"})], execution_count=1),
    new_markdown_cell("*Look at the dot.* It is small."),
    new_code_cell("\n".join(["a = 1"] * 40), execution_count=2),
    new_code_cell('check("1.1", f)', outputs=[new_output("stream", text="waits")], execution_count=3),
]


def test_a_picture_stands_with_its_prompt_and_with_the_answer_in_the_notes():
    deck = slides.slides(new_notebook(cells=CELLS), [("Look at the dot", "There is **one** dot.")])
    kinds = [(cell.metadata.slideshow.slide_type, cell.source) for cell in deck.cells]
    assert kinds == [
        ("slide", "# Title"),
        ("-", "Text."),
        ("subslide", "###### Title"),
        ("-", "*Look at the dot.*"),
        ("-", ""),  # the picture
        ("notes", "There is **one** dot."),
        ("subslide", "###### Title"),
        ("-", "*Look at the dot.* It is small."),
        ("notes", "There is **one** dot."),
    ]
    page = slides.page(new_notebook(cells=CELLS), [("Look at the dot", "There is **one** dot.")])
    assert page.count('<aside class="notes">') == 2
    assert "<strong>one</strong> dot" in page


@pytest.mark.parametrize("kind", ["image/png", "image/svg+xml", "text/html"])
def test_every_kind_of_picture_and_table_has_a_slide_of_its_own(kind):
    output = new_output("display_data", {kind: "<svg></svg>", "text/plain": "a figure"})
    deck = slides.slides(new_notebook(cells=[CELLS[0], new_code_cell("plot()", outputs=[output])]), [])
    assert [cell.metadata.slideshow.slide_type for cell in deck.cells] == ["slide", "-", "subslide", "-"]


def test_long_text_goes_on_below():
    paragraphs = "\n\n".join([("word " * 60).strip()] * 8)
    deck = slides.slides(new_notebook(cells=[new_markdown_cell(f"## Long\n\n{paragraphs}")]), [])
    kinds = [cell.metadata.slideshow.slide_type for cell in deck.cells]
    assert kinds.count("slide") == 1 and kinds.count("subslide") >= 2


def test_without_the_package_there_is_one_clear_sentence(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"slides need the package sphinx-revealjs, which brings reveal\.js"):
        slides.reveal_directory()
