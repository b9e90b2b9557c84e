"""What the kit warns of is one line wherever it is shown."""

import warnings
from pathlib import Path

import nbclient
import nbformat
import pytest
from PIL import Image

from ablations.execution import execute
from dcbh_core.notes import Note
from tests.stub_suite import write_notebook


@pytest.mark.parametrize("how", ["by the kit", "by hand"])
def test_a_file_that_is_skipped_is_one_line_in_a_notebook(tmp_path: Path, how: str) -> None:
    """By hand as JupyterLab does it, in a kernel of its own."""
    for person in ("anna", "bob"):
        (tmp_path / "faces" / person).mkdir(parents=True)
        Image.new("L", (32, 32)).save(tmp_path / "faces" / person / "1.png")
    (tmp_path / "faces/bob/notes.txt").write_text("no image")
    source, executed = tmp_path / "source.ipynb", tmp_path / "executed.ipynb"
    write_notebook(source, "root = None", "from dcbh_core import load_faces\nfaces = load_faces('folder', root)")
    if how == "by the kit":
        execute(source, executed, {"root": str(tmp_path / "faces")})
    else:
        notebook = nbformat.read(source, as_version=4)
        notebook.cells[0].source = f"root = {str(tmp_path / 'faces')!r}"
        nbformat.write(nbclient.NotebookClient(notebook).execute(), executed)
    [output] = nbformat.read(executed, as_version=4).cells[-1].outputs
    assert output.text == (
        "note: skipped 1 of 3 files that cannot be read as an image of at most 64 megapixels: bob/notes.txt\n"
    )


def test_warnings_of_others_are_as_python_has_them() -> None:
    assert warnings.formatwarning("a word", UserWarning, "file.py", 7, "x = 1") == (
        "file.py:7: UserWarning: a word\n  x = 1\n"
    )
    assert warnings.formatwarning("a word", Note, "file.py", 7, "x = 1") == "note: a word\n"
