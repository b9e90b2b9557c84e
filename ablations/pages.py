"""Executed notebooks as HTML pages that load nothing from elsewhere, for the report and for the book of the course.

nbconvert's own page fetches RequireJS, MathJax and Mermaid. Here formulas are written as MathML, which browsers draw by
themselves; nothing else of that is needed. Widgets (progress bars) would need a kernel and are left out.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import math
import os
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

if TYPE_CHECKING:
    from IPython.display import HTML

# Fonts with all the parts of large brackets and sums: of Apple, of Windows, of TeX, of most Linux desktops.
STYLE = """math { font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "DejaVu Math TeX Gyre", math; }
math[display="block"] { margin: 1em 0; max-width: 100%; overflow: auto hidden; }"""
# Of reports: a column of text, tables and figures that scroll on a phone, and pages of paper.
REPORT_STYLE = """
body, body.jp-Notebook { max-width: 60rem; margin: 0 auto; padding: 0 1rem 3rem; background: white; overflow: visible;
  font: 16px/1.55 system-ui, sans-serif; color: #222; --jp-content-font-size1: 16px; }
main { overflow: visible; }
.jp-Cell, .jp-MarkdownOutput, .jp-OutputArea-output, .jp-RenderedHTMLCommon { padding: 0 !important; }
.jp-RenderedHTMLCommon { line-height: 1.55; }
.jp-RenderedMarkdown { overflow-x: auto; }
.jp-RenderedHTMLCommon table { display: table; margin: .4rem 0 .8rem; font-size: 14px; }
.jp-RenderedHTMLCommon tr { background: white; }
.jp-RenderedHTMLCommon :is(td, th) { font-variant-numeric: tabular-nums; padding: .3rem .6rem; }
.jp-RenderedHTMLCommon th { text-align: left; }
.jp-RenderedHTMLCommon td { white-space: nowrap; }
.jp-RenderedHTMLCommon td:nth-child(2) { white-space: normal; min-width: 9em; }
.jp-RenderedHTMLCommon :is(td, th):first-child { position: sticky; left: 0; background: inherit; text-align: left; }
.jp-RenderedSVG img, .jp-RenderedImage img { max-width: 100%; height: auto; }
@media screen and (max-width: 40rem) {
  body, body.jp-Notebook { padding: 0 .6rem 2rem; }
  .jp-RenderedSVG, .jp-RenderedImage { overflow-x: auto; }
  .jp-RenderedSVG img, .jp-RenderedImage img { max-width: none; width: max(100%, 38rem); }
  .jp-RenderedHTMLCommon table { font-size: 13px; }
}
@media print {
  @page { size: A4; margin: 15mm; }
  body, body.jp-Notebook { max-width: none; padding: 0; font-size: 10pt; --jp-content-font-size1: 10pt; }
  .jp-RenderedHTMLCommon table { font-size: 8pt; }
  .jp-RenderedHTMLCommon :is(td, th) { white-space: normal; padding: .15rem .35rem; min-width: 0 !important; }
  .jp-RenderedMarkdown { overflow: visible; }
  h1, h2, h3 { break-after: avoid; }
  tr, .jp-RenderedSVG, .jp-RenderedImage { break-inside: avoid; }
  .anchor-link { display: none; }
}
"""
WIDGET = "application/vnd.jupyter.widget-view+json"

_EMPTY = ("html_head_js", "html_head_js_mathjax", "html_head_js_mermaidjs", "jupyter_widgets")
_TEMPLATE = (
    "{% extends 'lab/index.html.j2' %}"
    + "".join(f"{{% block {name} %}}{{% endblock %}}" for name in _EMPTY)
    + "{% block html_head_css %}<style>{{ resources.style }}</style>{% endblock %}"
    + "{% block data_svg %}<div class='jp-RenderedSVG jp-OutputArea-output'><img alt='{{ output"
    " | get_metadata('alt', 'image/svg+xml') | default('figure', true) | escape_html }}'"
    " src='data:image/svg+xml;base64,{{ output.data['image/svg+xml'] | text_base64 }}'></div>{% endblock %}"
    + "{% block body_header %}{{ super() }}{{ resources.before }}{% endblock %}"
    + "{% block body_footer %}{{ resources.after }}{{ super() }}{% endblock %}"
    + """{% block input %}{% set lines = cell.source.splitlines() | length %}
{%- if lines > resources.fold %}<details class="code"><summary>Code, {{ lines }} lines</summary>
{{- super() }}</details>{% else %}{{ super() }}{% endif %}{% endblock %}"""
    # Text in columns is to be scrolled, sentences are to be wrapped.
    + """{% block stream_stdout %}<div class="{{ 'columns' if '   ' in output.text else 'sentences' }}">
{{- super() }}</div>{% endblock %}"""
)


def same_address(address: str) -> str | None:
    """The address itself: what ``html_page`` makes of links by default."""
    return address


def html_page(
    content: Any,
    title: str,
    *,
    source: bool = True,
    fold: float = math.inf,
    style: str = "",
    before: str = "",
    after: str = "",
    link: Callable[[str], str | None] = same_address,
    path: str | os.PathLike[str] = ".",
) -> str:
    """A notebook as one page.

    Args:
        content: The notebook, as nbformat reads it.
        title: Of the page.
        source: Whether the source of its code cells is shown as well.
        fold: Source of more lines than this is folded, to be opened by a click.
        style: CSS to be added.
        before: HTML above the notebook.
        after: HTML below it.
        link: What becomes of the address of each link in Markdown; None makes plain text of it.
        path: The directory from which pictures in Markdown are read.
    """
    from jinja2 import DictLoader

    content.metadata["title"] = title
    for cell in content.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", ())]
            for output in cell.outputs:
                if "image/png" in output.get("data", ()):
                    output.metadata.setdefault("image/png", {}).setdefault("alt", "figure")
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"page.html.j2": _TEMPLATE})],
        template_file="page.html.j2",
        exclude_input=not source,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    exporter.register_filter("markdown2html", lambda source: markdown_to_html(source, link, path))
    resources = {"style": STYLE + style, "before": before, "after": after, "fold": fold}
    page, _ = exporter.from_notebook_node(content, resources=resources)
    return str(page)


def markdown_to_html(
    source: str, link: Callable[[str], str | None] = same_address, path: str | os.PathLike[str] = "."
) -> str:
    """Markdown as Jupyter reads it, as HTML with formulas in MathML; HTML in it is shown as text.

    Args:
        source: The Markdown.
        link: As in ``html_page``.
        path: As in ``html_page``.
    """
    renderer = _Renderer(
        escape=False, allow_harmful_protocols=False, embed_images=True, anchor_link_text="", path=str(path)
    )
    renderer.address = link
    return MarkdownWithMath(renderer=renderer).render(source)


def mathml(formula: str, display: str = "inline") -> str:
    """A formula in TeX as MathML; ``display`` is ``inline`` or ``block``."""
    # The converter knows the environment by its other name only.
    formula = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{align*}", formula)
    # A bar would be taken for an operator between two things: with room around it, and as tall as its neighbour.
    bare = re.compile(r"<mo((?:(?! form=)[^>])*)>(\||&#x0007C;|&#x02016;)</mo>")
    fixed = ' stretchy="false"'
    return bare.sub(lambda bar: f'<mo form="prefix"{bar[1] or fixed}>{bar[2]}</mo>', convert(formula, display=display))


def embedded(page: str, height: int, fallback: str) -> HTML:
    """A whole HTML page as the output of a cell; it needs no kernel, no network and no file beside the notebook.

    Bokeh's script is larger than a notebook should be, so the page travels compressed and the browser unpacks it into
    a frame.

    Args:
        page: The page.
        height: Of the frame, in pixels.
        fallback: What is read where scripts do not run: in a notebook that is not trusted, or on a code host.
    """
    from IPython.display import HTML

    packed = base64.b64encode(gzip.compress(page.encode(), mtime=0)).decode()
    name = "page-" + hashlib.sha256(packed.encode()).hexdigest()[:12]
    return HTML(f"""<div id="{name}"><em>{fallback}</em></div>
<script>
(async () => {{
  const packed = Uint8Array.from(atob("{packed}"), (letter) => letter.charCodeAt(0));
  const page = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const frame = document.createElement("iframe");
  frame.style = "width: 100%; height: {height}px; border: 0";
  frame.srcdoc = await new Response(page).text();
  document.getElementById("{name}").replaceChildren(frame);
}})();
</script>""")


class _Renderer(IPythonRenderer):
    """Markdown to HTML, with formulas as MathML and HTML as text."""

    address: Callable[[str], str | None]

    def inline_html(self, html: str) -> str:
        return escape(html)

    def block_html(self, html: str) -> str:
        return f"<p>{escape(html)}</p>\n"

    def block_mermaidjs(self, code: str) -> str:
        return self.block_code(code)

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        address = self.address(url)
        return text if address is None else str(super().link(text, address, title))
