"""The command line does what it is asked to, or says in one sentence why not; its exit status tells which."""

from pathlib import Path

import pytest

from ablations import identity, records
from ablations.__main__ import main
from tests.stub_suite import run_small, write_notebook


def test_report_command(small: str, fast: list, tmp_path: Path, monkeypatch, capsys) -> None:
    """The whole command, with a stub report notebook executed by the real papermill."""
    shown = (
        "import json\nfrom IPython.display import HTML, Image, display\ndisplay(Image(b'a picture', format='png'))\n"
        "HTML(f'<b>{suite[-10:]} {json.dumps(settings)}</b>')"
    )
    write_notebook(identity.NOTEBOOKS / identity.REPORT_NOTEBOOK, "suite = out = settings = None", shown)
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    out = tmp_path / "runs"
    run_small(small, out, bits=12)
    assert main(["report", small, "--set", "bits=12", "--out", str(out), "--record"]) == 0
    assert (tmp_path / "small.png").read_bytes() == b"a picture"
    directory = out / "reports" / "small"
    expected = ["cells.csv", "report.html", "report.ipynb", "summary.csv", "table.md", "table.tex"]
    assert sorted(path.name for path in directory.iterdir()) == expected
    printed = capsys.readouterr().out
    assert (directory / "table.md").read_text() in printed
    assert f"report: {directory / 'report.html'}" in printed
    page = (directory / "report.html").read_text()
    assert '<b>small.yaml {"bits": 12}</b>' in page
    assert "IPython.display" not in page
    assert "<title>A small suite</title>" in page
    assert 'src="http' not in page
    assert "cdnjs" not in page
    assert "# command: python -m ablations run small --set bits=12\n" in (tmp_path / "small.csv").read_text()
    assert main(["report", small, "--set", "bits=12", "--out", str(out), "--record", "short"]) != 0
    assert "delete one of their files" in capsys.readouterr().err
    (tmp_path / "small.csv").unlink()
    assert main(["report", small, "--set", "bits=12", "--out", str(out), "--record", "short"]) == 0
    assert (tmp_path / "small.short.csv").exists()
    assert (tmp_path / "small.short.png").read_bytes() == b"a picture"


def test_list(capsys) -> None:
    assert main(["list"]) == 0
    assert "orl_quick (18 cells): DCBH on ORL, quick\n    Do the centre loss" in capsys.readouterr().out


def test_dry_run_tells_what_is_to_do_and_runs_nothing(small: str, fast: list, tmp_path: Path, capsys) -> None:
    run_small(small, tmp_path, bits=12, seed=0)
    fast.clear()
    arguments = ["run", small, "--dry-run", "--out", str(tmp_path), "--only", "full", "--set", "seed=0"]
    assert main(arguments) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("full 12 bits seed 0: complete")
    assert second.startswith("full 48 bits seed 0: to do")
    assert fast == []


def test_run_command_says_how_to_report(small: str, fast: list, tmp_path: Path, capsys) -> None:
    arguments = [small, "--set", "bits=[12]", "--set", "seed=0", "--out", str(tmp_path)]
    assert main(["run", *arguments, "--only", "full"]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"report: python -m ablations report {small} --set 'bits=[12]' --set seed=0 --out {tmp_path}"


def test_run_command_with_a_failed_cell_exits_with_1(small: str, fast: list, tmp_path: Path) -> None:
    assert main(["run", small, "--set", "seed=7", "--out", str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "orl_quik"], "unknown suite 'orl_quik'; did you mean 'orl_quick'"),
        (["run", "orl_quick", "--only", "fulll"], "unknown variant 'fulll'; did you mean 'full'"),
        (["run", "orl_quick", "--work", "shared"], "--work is for a cluster; give --scheduler too"),
        (["run", "orl_quick", "--scheduler", "tcp://a:1", "--jobs", "2"], "--jobs is for this machine"),
        (["run", "orl_quick", "--set", "bits"], "--set takes FIELD=VALUE, not 'bits'"),
        (["run", "orl_quick", "--set", "bits=[1"], "this is no YAML"),
        (["run", "orl_quick", "--set", "learning_rate=1e-4"], "an exponent needs a point and a sign"),
        (
            ["report", "orl_quick", "--out", "nowhere"],
            "no cell of suite 'orl_quick' is complete in nowhere; run it first",
        ),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(small: str, capsys, arguments: list[str], message: str) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("option", "value"), [("--timeout", "0"), ("--timeout", "an hour"), ("--retries", "-1")])
def test_limits_must_be_numbers(option: str, value: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "orl_quick", f"{option}={value}"])
    assert "must be a" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["0", "two"])
def test_jobs_must_be_positive(jobs: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "orl_quick", "--jobs", jobs])
    assert "must be a whole number from 1" in capsys.readouterr().err
