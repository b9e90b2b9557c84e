"""The command line does what it is asked to, or says in one sentence why not; its exit status tells which."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from ablations import command_line
from ablations.__main__ import main
from ablations.suite import suite_names
from dcbh_core import methods
from tests.stub_suite import OWN, run_small, write_own, write_suite


def test_report_command(small: str, fast: list, tmp_path: Path, monkeypatch, capsys) -> None:
    """The whole command, with a stub report notebook executed by the real papermill; papermill formats paths."""
    out = tmp_path / "{bits} runs"
    run_small(small, out)
    arguments = ["report", small, "--set", "seed=[0, 1]", "--where", "bits=12", "--out", str(out)]
    assert main([*arguments, "--record"]) == 0
    assert (tmp_path / "small.png").read_bytes() == b"a picture"
    directory = out / "reports" / "small"
    expected = ["report.html", "report.ipynb", "runs.csv", "runs.npz", "summary.csv", "table.md", "table.tex"]
    assert sorted(path.name for path in directory.iterdir()) == expected
    printed = capsys.readouterr().out
    assert (directory / "table.md").read_text() in printed
    assert f"report: {directory / 'report.html'}" in printed
    page = (directory / "report.html").read_text()
    assert "<b>small.yaml {'seed': [0, 1]} {'bits': 12} map</b>" in page
    assert "IPython.display" not in page
    assert "<title>A small suite</title>" in page
    assert 'src="http' not in page
    assert "cdnjs" not in page
    command = "# command: python -m ablations run small --set 'seed=[0, 1]' --where bits=12\n"
    assert command in (tmp_path / "small.csv").read_text()

    monkeypatch.setattr(command_line, "build_report", lambda *arguments, **options: directory)
    assert main([*arguments, "--record", "short"]) == 2
    assert "delete one of their files" in capsys.readouterr().err
    (tmp_path / "small.csv").unlink()
    assert main([*arguments, "--record", "short"]) == 0
    assert (tmp_path / "small.short.csv").exists()
    assert (tmp_path / "small.short.png").read_bytes() == b"a picture"


def test_where_the_root_of_the_faces_lies_is_not_recorded(
    small: str, fast: list, tmp_path: Path, monkeypatch, capsys
) -> None:
    settings = ["--set", "dataset=folder", "--set", f"root={tmp_path}", "--set", "bits=12", "--out", str(tmp_path)]
    assert main(["run", small, *settings]) == 0
    (tmp_path / "report.ipynb").write_text('{"cells": [{"outputs": [{"data": {"image/png": "cG5n"}}]}]}')
    (tmp_path / "table.md").write_text("")
    monkeypatch.setattr(command_line, "build_report", lambda *arguments, **options: tmp_path)
    assert main(["report", small, *settings, "--record"]) == 0
    assert "--set root=DIR --set bits=12\n" in (tmp_path / "small.csv").read_text()


def test_list(capsys) -> None:
    assert main(["list"]) == 0
    assert "orl_quick (18 runs): DCBH on ORL, quick\n    Do the centre loss" in capsys.readouterr().out


def test_list_goes_on_where_a_method_needs_what_is_not_installed(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.losses", None)
    methods._executed.cache_clear()  # another test may have executed its file
    assert main(["list"]) == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert [line.partition(" ")[0].rstrip(":") for line in listed] == suite_names()
    [own] = [line for line in listed if line.startswith("own_methods")]
    assert "metric_learning.py, line 3: ModuleNotFoundError: " in own


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
    assert main(["run", small, "--set", "seed=0", "--where", "bits=12", "--out", str(tmp_path), "--only", "full"]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"report: python -m ablations report {small} --set seed=0 --where bits=12 --out {tmp_path}"


def test_the_output_directory_may_begin_at_home(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["run", small, "--set", "bits=12", "--out=~/runs"]) == 0
    assert main(["status", "~/runs"]) == 0
    assert len(list((tmp_path / "runs" / "complete").iterdir())) == 6


def test_where_chooses_what_is_run(small: str, fast: list, tmp_path: Path) -> None:
    assert main(["run", small, "--where", "bits=12", "--where", "seed=[2, 0]", "--out", str(tmp_path)]) == 0
    assert sorted({(parameters["bits"], parameters["seed"]) for parameters in fast}) == [(12, 0), (12, 2)]


def test_a_file_of_ones_own_in_a_setting_is_found_from_the_working_directory(
    small: str, fast: list, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "pull.py").write_text(OWN)
    monkeypatch.chdir(tmp_path / "here")
    path = write_suite(Path(small), variants={"full": {}})
    settings = ["--set", "tau=0.3", "--set", "objective=pull.py:Pull", "--set", "bits=12", "--set", "seed=0"]
    assert main(["run", path, *settings, "--out", str(tmp_path)]) == 0
    assert [(parameters["objective"], parameters["tau"]) for parameters in fast] == [
        (f"{fast[0]['run_dir']}/pull.py:Pull", 0.3)
    ]


def test_a_missing_file_of_ones_own_is_one_sentence(small: str, fast: list, tmp_path: Path, capsys) -> None:
    path = write_own(Path(small))
    (tmp_path / "pull.py").unlink()
    assert main(["run", path, "--out", str(tmp_path)]) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert sentence.endswith(f"there is no file {tmp_path / 'pull.py'}")
    assert fast == []


def test_run_command_with_a_failed_run_exits_with_1(small: str, fast: list, tmp_path: Path) -> None:
    assert main(["run", small, "--set", "seed=7", "--out", str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "orl_quik"], "unknown suite 'orl_quik'; did you mean 'orl_quick'"),
        (["run", "orl_quick", "--only", "fulll"], "unknown variant 'fulll'; did you mean 'full'"),
        (["run", "orl_quick", "--work", "shared"], "--work is for a cluster; give --scheduler too"),
        (["run", "orl_quick", "--scheduler", "tcp://a:1", "--jobs", "2"], "--jobs is for this machine"),
        (["run", "orl_quick", "--dry-run", "--work", "shared"], "--work is for a cluster; give --scheduler too"),
        (["run", "orl_quick", "--dry-run", "--scheduler", "tcp://a:1", "--jobs", "2"], "--jobs is for this machine"),
        (["run", "orl_quick", "--dry-run", "--scheduler", "tcp://a:1"], "--dry-run plans for this machine"),
        (["run", "orl_quick", "--set", "bits"], "--set and --where take FIELD=VALUE, not 'bits'"),
        (["run", "orl_quick", "--where", "bits"], "--set and --where take FIELD=VALUE, not 'bits'"),
        (
            ["run", "orl_quick", "--where", "bits=24"],
            "suite 'orl_quick': bits 24 is not planned; to set it, use --set",
        ),
        (["report", "orl_quick", "--where", "bit=12"], "unknown grid axis 'bit'; did you mean 'bits'"),
        (["run", "orl_quick", "--set", "bits=[1"], "this is no YAML"),
        (["run", "orl_quick", "--set", "learning_rate=1e-4"], "an exponent needs a point and a sign"),
        (
            ["report", "orl_quick", "--out", "nowhere"],
            "no run of suite 'orl_quick' is complete in nowhere; start it first: python -m ablations run",
        ),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(small: str, capsys, arguments: list[str], message: str) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


HUGE = ["9" * 400, "9" * 5000, "!!int ''", "[[1], [2]]", "[" * 900, "{a: 1}", "x" * 100_000, "[x, y, x]"]


@pytest.mark.parametrize("value", HUGE, ids=lambda value: value[:10])
@pytest.mark.parametrize("option", ["--set", "--where"])
def test_a_value_made_to_break_it_is_one_short_sentence(small: str, capsys, option: str, value: str) -> None:
    assert main(["run", small, option, f"bits={value}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert len(error) < 500


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


def test_an_interrupt_while_modules_are_imported_is_one_sentence() -> None:
    script = (
        "import builtins, sys; real = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'pandas': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = interrupted\n"
        "from ablations.__main__ import main; sys.exit(main(['list']))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (130, "interrupted; go on with: python -m ablations list\n")


def test_a_batch_of_which_nothing_is_complete_has_no_report_to_point_to(
    small: str, fast: list, tmp_path: Path, capsys
) -> None:
    """Also where something else is complete beside it."""
    run_small(small, tmp_path, bits=12, seed=0)
    assert main(["run", small, "--set", "seed=7", "--out", str(tmp_path)]) == 1
    assert "report:" not in capsys.readouterr().err


def test_a_warning_is_a_note_in_the_kits_own_voice(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(command_line, "suite_names", lambda: warnings.warn("skipped 1 of 2 files", stacklevel=1) or [])
    main(["list"])
    assert capsys.readouterr().err == "note: skipped 1 of 2 files\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_too_little_memory_for_the_imports_is_one_sentence_at_once() -> None:
    """OpenBLAS would try for ever to get some."""
    limited = 'ulimit -v 750000 && exec "$0" -m ablations list'
    result = subprocess.run(
        ["sh", "-c", limited, sys.executable], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 2
    [sentence] = result.stderr.splitlines()
    assert sentence.startswith(
        "error: memory ran out: ulimit -v allows 732 MB, and 1024 MB are the least; give it more"
    )


def test_memory_that_runs_out_before_any_run_starts_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def suite_names() -> list[str]:
        raise MemoryError("Unable to allocate 2.00 TiB")

    monkeypatch.setattr(command_line, "suite_names", suite_names)
    assert main(["list"]) == 2
    expected = (
        "error: memory ran out: Unable to allocate 2.00 TiB; give it more, and go on with: python -m ablations list\n"
    )
    assert capsys.readouterr().err == expected
