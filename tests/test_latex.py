"""Tables and figures as LaTeX: complete environments that any document can take in, whatever names hold."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from ablations.latex import escaped, labelled, latex_figure, latex_table
from ablations.suite import Suite, load_suite
from tests.stub_suite import GRIDS, made_up, write_suite

MATHEMATICAL = "αβγδεζηθικλμνξοπρςστυφχψω ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ ≤ ≥"
NASTY = 'a_b & 50 % of $x$ {y} #1 ~ ^ \\cmd <z> | [w] "q" ± − ★'


@pytest.fixture
def suite(small: str) -> Suite:
    return load_suite(small)


def rows(text: str) -> list[list[str]]:
    """The cells of a table's lines."""
    return [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if " & " in line]


def test_nothing_in_a_text_is_a_command() -> None:
    text = escaped(NASTY)
    assert text.startswith(r"a\_b \& 50 \% of \$x\$ \{y\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}cmd")
    assert text.endswith(r"$\pm$ $-$ $\star$")
    assert text.isascii()
    assert escaped("two\nlines ") == "two lines"


def test_greek_letters_and_comparisons_are_set_as_mathematics() -> None:
    text = escaped(MATHEMATICAL)
    assert text.isascii()
    assert text.startswith(r"$\alpha$$\beta$") and text.endswith(r"X$\Psi$$\Omega$ $\leq$ $\geq$")


def test_a_star_at_the_beginning_of_a_row_does_not_belong_to_the_line_break(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", variants={"full": {}, "* all": {"center_weight": 0}}))
    text = latex_table(made_up(suite, [0, 1]), suite)
    assert "\n{*} all & " in text
    assert not re.search(r"\\\\\s*\*", text)


def test_labels_are_of_letters_digits_and_dashes() -> None:
    assert labelled("tab", "my_suite (2)", "precision_at_50") == "tab:my-suite-2:precision-at-50"


def test_points_are_columns_where_one_question_was_asked(suite: Suite) -> None:
    text = latex_table(made_up(suite, [0, 1, 2]), suite)
    head, *lines = rows(text)
    assert head == ["variant", "12 bits", "48 bits"]
    assert [line[0] for line in lines] == ["chance", "raw pixels", "full", r"no\_center", r"no\_center $-$ full"]
    assert text.index(r"\addlinespace") > text.index(r"no\_center &")
    for part in (r"\begin{table}", r"\caption{A small suite. MAP (mean over 3", r"\label{tab:small:map}", r"\toprule"):
        assert part in text
    assert text.isascii()


def test_questions_are_columns_and_points_are_groups_where_several_were_asked(suite: Suite) -> None:
    frame = made_up(suite, [0, 1, 2])
    frame = frame.assign(**{f"unseen_{name}": frame[name] / 2 for name in ("map", "chance", "pixels")})
    text = latex_table(frame, suite)
    head, *lines = rows(text)
    assert head == ["variant", "seen", "unseen"]
    assert len(lines) == 2 * 5
    assert re.findall(r"\\emph\{(.*?)\}", text) == ["12 bits", "48 bits"]
    means = frame[(frame["variant"] == "no_center") & (frame["bits"] == 48)]["map"].mean()
    assert lines[8][0] == r"no\_center"
    assert [float(re.search(r"\d\.\d+", cell)[0]) for cell in lines[8][1:]] == pytest.approx(  # type: ignore[index]
        [means, means / 2], abs=6e-4
    )


def test_the_best_code_of_a_column_is_bold(suite: Suite) -> None:
    """Raw pixels are no code; and of two that are printed alike both are the best."""
    frame = made_up(suite, [0, 1, 2]).assign(pixels=0.99)
    frame["map"] = [0.5 if row["variant"] == "full" and row["bits"] == 12 else 0.4 for _, row in frame.iterrows()]
    bold = {line[0]: [r"\textbf" in cell for cell in line[1:]] for line in rows(latex_table(frame, suite))[1:]}
    assert bold == {
        "chance": [False, False],
        "raw pixels": [False, False],
        "full": [True, True],
        r"no\_center": [False, True],
        r"no\_center $-$ full": [False, False],
    }


def test_the_smallest_is_best_of_seconds_and_no_best_of_sizes(suite: Suite) -> None:
    frame = made_up(suite, [0, 1, 2]).assign(gallery=280.0)
    frame["seconds"] = [1.0 if variant == "no_center" else 2.0 for variant in frame["variant"]]
    text = latex_table(frame, suite, "seconds")
    assert [line[0] for line in rows(text) if r"\textbf" in " ".join(line)] == [r"no\_center"]
    assert r"\textbf" not in latex_table(frame, suite, "gallery")


def test_pairs_of_values_are_said_to_be_of_two_seeds(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS))
    frame = pd.DataFrame(
        [{"variant": run.variant, **run.point, "map": 0.5, "chance": 0.1, "pixels": 0.2} for run in suite.runs()]
    )
    assert rows(latex_table(frame, suite))[0] == ["variant", "12 bits", "24 bits, seeds 0 / 1", "48 bits, seeds 0 / 1"]


def test_the_footnote_says_command_seeds_and_machine(suite: Suite) -> None:
    text = latex_table(made_up(suite, [0, 1, 2]), suite, command="python -m ablations run my_suite --set 'a=[1]'")
    [note] = re.findall(r"\\parbox.*", text)
    for part in (
        r"run my\_suite {-}{-}set \textquotesingle{}a={[}1{]}\textquotesingle{}}.",
        "seeds 0, 1, 2",
        "2-core x86-64 CPU",
        "float32",
    ):
        assert part in note


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no TeX here")
def test_tables_and_figures_are_set_by_latex(small: str, tmp_path: Path) -> None:
    """With names that hold all that TeX gives a meaning."""
    variants = {
        NASTY: {},
        f"* {MATHEMATICAL}": {"width": 0.1},
        "ITQ on descriptors, a long one, and another": {"center_weight": 0},
    }
    suite = load_suite(write_suite(Path(small), title=f"On {NASTY}", variants=variants))
    frame = made_up(suite, [0, 1, 2])
    prefixes = ("unseen_", "held_out_", "open_")
    frame = frame.assign(**{f"{prefix}map": frame["map"] for prefix in prefixes})
    frame = frame.assign(**{f"{prefix}{base}": 0.1 for prefix in prefixes for base in ("chance", "pixels")})
    (tmp_path / "figures").mkdir()
    from matplotlib.figure import Figure

    Figure().savefig(tmp_path / "figures/a_b.pdf")
    (tmp_path / "table.tex").write_text(latex_table(frame, suite, command="python -m x --set 'a=[\"`1\"]'"))
    (tmp_path / "figure.tex").write_text(latex_figure(suite, "a_b", f"Of {NASTY}"))
    document = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{table}\input{figure}"
    (tmp_path / "main.tex").write_text(document + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
