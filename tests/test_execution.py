"""The real papermill executes notebooks, and what it starts does not outlive the process that asked for them."""

import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest

from ablations import identity
from ablations.execution import KERNEL_DIED, NotebookError, execute, fork_server
from ablations.identity import read_run
from ablations.runner import plan, run_suite
from ablations.suite import load_suite
from dcbh_core import DCBH
from tests.stub_suite import ODD_NAMES, OWN, wait_for, write_notebook, write_suite


def test_papermill_makes_runs_and_keeps_what_failed(small: str, tmp_path: Path) -> None:
    """The real thing: one run that succeeds, one that raises, one whose kernel dies."""
    suite = load_suite(small).with_settings({"bits": 12, "seed": [0, 7, 9]})
    assert run_suite(suite, tmp_path, jobs=2, only=["full"]) == 2
    complete, raised, died = plan(suite, tmp_path, ["full"])
    assert (complete.complete, raised.complete, died.complete) == (True, False, False)
    directory = tmp_path / "complete" / complete.identity.name
    assert read_run(directory)["result"]["environment"]["threads"] == "1"
    assert nbformat.read(directory / "notebook.ipynb", as_version=4).cells[-1].execution_count
    error = (tmp_path / "failed" / raised.identity.name / "error.txt").read_text()
    assert error.splitlines()[-1] == "ZeroDivisionError: seed seven is unlucky"
    assert "Traceback" in error
    assert "\x1b" not in error
    assert "ZeroDivisionError" in (tmp_path / "failed" / raised.identity.name / "notebook.ipynb").read_text()
    assert "Kernel died" in (tmp_path / "failed" / died.identity.name / "error.txt").read_text()


def test_the_training_notebook_trains_a_method_of_ones_own_on_the_validation_part(
    still_core: Path, tmp_path: Path
) -> None:
    """The shipped notebook, in which the constant of that method does not occur."""
    tiny = {"dataset": "orl", "width": 0.05, "epochs": 1, "bits": 8, "device": "cpu", "dtype": "float32"}
    (tmp_path / "pull.py").write_text(OWN)
    own = {"objective": "pull.py:Pull", "tau": 0.4}
    base = {**tiny, "scored_on": "validation"}
    path = write_suite(tmp_path / "own.yaml", base=base, variants={"own": own}, grid={"seed": [0]})
    assert run_suite(load_suite(path), tmp_path, jobs=1) == 0
    [directory] = (tmp_path / "complete").iterdir()
    result = read_run(directory)["result"]
    assert (result["config"]["objective"], result["config"]["tau"]) == ("pull.py:Pull", 0.4)
    assert 0 < result["metrics"]["unseen_map"] < 1
    assert DCBH.load(directory / "model", device="cpu", own_code=True).config.tau == 0.4
    with np.load(directory / "evaluation.npz") as arrays:
        people = [len(np.unique(arrays[f"{part}_labels"])) for part in ("queries", "new_queries")]
    assert people == [30, 10]


def start_batch(small: str, out: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A runner in a process of its own with two runs that sleep, and the processes of their kernels."""
    script = (
        "import pathlib, sys; from ablations import identity; from ablations.__main__ import main\n"
        f"identity.NOTEBOOKS = pathlib.Path({str(identity.NOTEBOOKS)!r})\n"
        f"identity.CORE = pathlib.Path({str(identity.CORE)!r})\n"
        "identity.faces_hash = lambda config: 'faces'\n"
        f"sys.exit(main(['run', {small!r}, '--set', 'seed=8', '--out', {str(out)!r}, '--jobs', '2']))"
    )
    # A job in the background inherits an ignored SIGINT; the process under test is to hear it wherever the tests run.
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + script
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    files = wait_for(lambda: found if len(found := list((out / ".work").glob("*/pid"))) == 2 else [])
    time.sleep(0.2)  # until written
    return process, [int(path.read_text()) for path in files]


def test_an_interrupt_ends_all_children_and_says_how_to_go_on(small: str, tmp_path: Path) -> None:
    process, pids = start_batch(small, tmp_path / "runs")
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130
    command = f"python -m ablations run {small} --set seed=8 --out {tmp_path / 'runs'} --jobs 2"
    assert messages.splitlines()[-1] == f"interrupted; go on with: {command}"
    assert not (tmp_path / "runs" / "failed").exists()
    assert wait_for(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the system is asked to end processes with their parents")
@pytest.mark.parametrize(
    "stopped", ["nobody", "kernel", "papermill", "server", "kernel and papermill and watcher and server"]
)
def test_whoever_is_stopped_nobody_outlives_a_runner_that_is_killed(small: str, tmp_path: Path, stopped: str) -> None:
    process, pids = start_batch(small, tmp_path / "runs")
    family = [psutil.Process(pid) for pid in pids] + psutil.Process(process.pid).children(recursive=True)
    for pid in pids:
        kernel = psutil.Process(pid)
        chain = [kernel, *kernel.parents()]
        for name, member in zip(("kernel", "papermill", "watcher", "server"), chain, strict=False):
            if name in stopped:
                member.suspend()
    process.kill()
    process.communicate()
    assert wait_for(lambda: not any(alive(member.pid) for member in family), seconds=15)


def test_a_runner_that_was_killed_leaves_no_connection_file_once_the_next_has_ended(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    process, pids = start_batch(small, tmp_path / "runs")
    process.kill()
    process.communicate()
    assert wait_for(lambda: not any(alive(pid) for pid in pids))
    assert not list(temporary.rglob("*kernel*")) and not list(temporary.rglob("tmp*.json"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no fork server")
def test_a_fork_server_that_was_killed_costs_an_attempt_and_no_more(tmp_path: Path) -> None:
    source, output = tmp_path / "long.ipynb", tmp_path / "out.ipynb"
    write_notebook(source, "seconds = 0", "import time; time.sleep(seconds)")
    execute(source, output, {"seconds": 0})
    server = fork_server(1).process
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(execute, source, output, {"seconds": 60})
        wait_for(lambda: len(psutil.Process(server.pid).children(recursive=True)) == 3)  # watcher, papermill, kernel
        server.kill()
        with pytest.raises(NotebookError, match="papermill was ended by SIGKILL"):
            running.result(30)
    execute(source, output, {"seconds": 0})


@pytest.mark.parametrize("name", [*ODD_NAMES.values(), "{seconds} {{"], ids=[*ODD_NAMES, "braces"])
def test_a_directory_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """That of temporary files, too; a socket's path would have to be shorter than 108 characters."""
    source, output, temporary = tmp_path / "a.ipynb", tmp_path / name / "out.ipynb", tmp_path / "temporary" / name
    for directory in (output.parent, temporary):
        directory.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(temporary))
    write_notebook(source, "seconds = 0", "seconds + 1")
    execute(source, output, {"seconds": 3})
    assert nbformat.read(output, as_version=4).cells[-1].outputs[0]["data"]["text/plain"] == "4"


def test_a_picture_is_in_the_cell_that_drew_it(tmp_path: Path) -> None:
    source, output = tmp_path / "a.ipynb", tmp_path / "out.ipynb"
    write_notebook(source, "x = 1", "import matplotlib.pyplot as plt\nplt.plot([x, 2]);", "x")
    execute(source, output, {"x": 3})
    *_, drawing, number = nbformat.read(output, as_version=4).cells
    assert ["image/png" in one["data"] for one in drawing.outputs] == [True]
    assert "image/png" not in str(number.outputs)


@pytest.fixture
def limit() -> Iterator[Callable[[int, int], None]]:
    """Sets a limit of notebooks' processes and kernels, as ``ulimit`` does; they inherit it from the fork server."""
    if sys.platform != "linux":
        pytest.skip("elsewhere a limit cannot be set from outside")
    fork_server(1).start()
    server = fork_server(1).process
    assert server is not None
    before = {kind: resource.prlimit(server.pid, kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE)}
    yield lambda kind, size: resource.prlimit(server.pid, kind, (size, before[kind][1]))
    for kind, limits in before.items():
        resource.prlimit(server.pid, kind, limits)


def add_to_training(*sources: str) -> None:
    """Add cells to the notebook that stands for the training."""
    path = identity.NOTEBOOKS / identity.TRAINING_NOTEBOOK
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(notebook, path)


def test_a_run_that_gets_no_memory_fails_with_a_sentence_and_the_others_go_on(
    small: str, tmp_path: Path, limit: Callable[[int, int], None]
) -> None:
    measured = "import psutil\n(out / 'size').write_text(str(psutil.Process().memory_info().vms))"
    add_to_training(measured, "if bits == 48: bytearray(2**31)")
    suite = load_suite(small).with_settings({"seed": [0, 1]})
    assert run_suite(suite.with_settings({"bits": 12, "seed": 0}), tmp_path, jobs=1, only=["full"]) == 0
    [size] = tmp_path.glob("complete/*/size")
    limit(resource.RLIMIT_AS, int(size.read_text()) + 2**30)
    assert run_suite(suite, tmp_path, jobs=1, only=["full"]) == 2
    assert [one.complete for one in plan(suite, tmp_path, ["full"])] == [True, True, False, False]
    for error in tmp_path.glob("failed/*/error.txt"):
        assert error.read_text().splitlines()[-1] == "MemoryError: memory ran out"
    limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
    assert run_suite(suite, tmp_path, jobs=1, only=["full"]) == 0


def test_a_file_that_grows_too_large_is_named_and_what_was_there_before_stays(
    small: str, tmp_path: Path, limit: Callable[[int, int], None]
) -> None:
    """A checkpoint, of which the next start finds the one before."""
    write = "from dcbh_core.saving import write_atomically\nbefore = checkpoint.exists() and checkpoint.stat().st_size"
    write += "\nfor size in (1000, 2000 if before else 10**6): write_atomically(checkpoint, bytes(size))"
    add_to_training("checkpoint = out / 'checkpoint.pt'", write, "(out / 'found').write_text(str(before))")
    suite = load_suite(small).with_settings({"bits": 12, "seed": 0})
    limit(resource.RLIMIT_FSIZE, 10**5)
    assert run_suite(suite, tmp_path, jobs=1, only=["full"]) == 1
    [error] = tmp_path.glob("failed/*/error.txt")
    [left] = tmp_path.glob(".work/*/checkpoint.pt*")
    assert error.read_text().splitlines()[-1] == f"OSError: [Errno 27] File too large: '{left}'"
    assert left.name == "checkpoint.pt"
    assert run_suite(suite, tmp_path, jobs=1, only=["full"]) == 0
    assert [path.read_text() for path in tmp_path.glob("complete/*/found")] == ["1000"]


@pytest.mark.parametrize("room", [2**10, 2**14], ids=["nor what went wrong", "but what went wrong"])
def test_an_executed_notebook_that_cannot_be_written_is_a_failure(
    tmp_path: Path, limit: Callable[[int, int], None], room: int
) -> None:
    source, output = tmp_path / "a.ipynb", tmp_path / "out.ipynb"
    write_notebook(source, "x = 1", "print('x' * 20_000)")
    limit(resource.RLIMIT_FSIZE, room)
    with pytest.raises(NotebookError) as error:
        execute(source, output, {"x": 3})
    if room == 2**14:
        assert str(error.value) == f"[Errno 27] File too large: '{output}'"


def test_an_error_that_can_be_shown_no_more_is_told_as_it_was_printed(tmp_path: Path) -> None:
    """As IPython does where memory has run out: it prints, and leaves no error in the cell."""
    source = tmp_path / "a.ipynb"
    helpless = "def helpless(*_, **__): raise MemoryError\nget_ipython().InteractiveTB.structured_traceback = helpless"
    write_notebook(source, "x = 1", helpless, "raise MemoryError")
    with pytest.raises(NotebookError, match=r"^MemoryError: memory ran out$") as error:
        execute(source, tmp_path / "out.ipynb", {"x": 3})
    assert "Traceback" in error.value.log


def test_a_kernel_that_dies_before_it_is_ready_is_told_as_one_that_dies_later(tmp_path: Path) -> None:
    source, profile = tmp_path / "a.ipynb", tmp_path / "ipython" / "profile_default"
    write_notebook(source, "x = 1")
    profile.mkdir(parents=True)
    (profile / "ipython_kernel_config.py").write_text("import os\nos._exit(1)")
    with pytest.raises(NotebookError, match=f"^{re.escape(KERNEL_DIED)}$"):
        execute(source, tmp_path / "out.ipynb", {}, environment={"IPYTHONDIR": str(profile.parent)})
