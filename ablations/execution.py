"""One notebook, executed by papermill in a process of its own that never outlives the one that asked for it.

``execute`` starts that process (on Linux from a fork server, see ``forking``; elsewhere as ``python -m
ablations.execution``) and holds the other end of its standard input. A byte on it
interrupts the kernel, so that its traceback gets into the notebook; its end, which also comes when the asking process
is killed, ends kernel and papermill.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from .forking import ForkedProcess, ForkServer, StandbyKernel

# One name for each library that may do the arithmetic.
THREAD_VARIABLES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")
COURSE = "course"  # tag of the cells that only a reader of the notebooks wants, such as exercises
INLINE = "module://matplotlib_inline.backend_inline"  # where kernels draw
START_TIMEOUT = 600  # seconds that a kernel may take on a loaded machine
POLL_SECONDS = 0.2
Process = subprocess.Popen[bytes] | ForkedProcess
GRACE_SECONDS = 10.0  # from interrupting a kernel, or from asking a process to end, until it is ended by force
KERNEL_DIED = "Kernel died: it was killed, or memory ran out"


class NotebookError(RuntimeError):
    """A notebook failed; the message is the last line of its error, ``log`` all that papermill and kernel said."""

    def __init__(self, message: str, log: str = ""):
        super().__init__(message)
        self.log = log


def execute(
    source: Path,
    output: Path,
    parameters: Mapping[str, Any],
    threads: int = 1,
    timeout: float | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Execute a notebook with papermill in a new process, in this process's directory.

    Cells tagged ``course`` are left out.

    Args:
        source: The notebook.
        output: Where the executed notebook goes.
        parameters: Plain values for its cell tagged ``parameters``.
        threads: Of the arithmetic.
        timeout: Seconds until the notebook is interrupted; None is for ever.
        cancelled: Asked several times a second; once it is true, the process is ended.
        environment: Variables to set for the kernel.

    Raises:
        NotebookError: It failed, its kernel died, or it took longer than ``timeout``.
        CancelledError: It was cancelled.
    """
    arguments = [str(source), str(output), json.dumps(dict(parameters))]
    variables = {**environment_of(threads), **(environment or {})}
    with tempfile.TemporaryFile() as messages:
        process: Process
        if sys.platform == "linux":
            process = fork_server(threads).fork(arguments, messages.fileno(), variables)
        else:
            # A session of its own: Ctrl-C in the terminal reaches the asking process alone, which ends its children.
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, *arguments],
                stdin=subprocess.PIPE,
                stdout=messages,
                stderr=subprocess.STDOUT,
                env=variables,
                start_new_session=True,
            )
        try:
            status = _wait(process, timeout, cancelled)
            if status is None:
                _interrupt(process)
                _wait(process, GRACE_SECONDS, cancelled)
        finally:
            _end(process)
        messages.seek(0)
        log = re.sub(r"\x1b\[[0-9;]*m", "", messages.read().decode("utf-8", errors="replace"))
    if status is None:
        raise NotebookError(f"it took longer than the timeout of {timeout:g} s", log)
    if status < 0:
        raise NotebookError(f"papermill was ended by {signal.Signals(-status).name}", log)
    if status > 0:
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        message = lines[-1] if lines else "papermill failed"
        if message.rstrip(": ") == "MemoryError":
            message = "MemoryError: memory ran out"
        raise NotebookError(message, log)


def environment_of(threads: int) -> dict[str, str]:
    """The variables of a process in which a notebook is executed."""
    numbers = {f"{library}_NUM_THREADS": str(threads) for library in THREAD_VARIABLES}
    variables = {"TQDM_DISABLE": "1", "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONHASHSEED": "0", "MPLBACKEND": INLINE}
    return {**os.environ, **variables, **numbers}


@functools.cache
def fork_server(threads: int) -> ForkServer:
    """The server for notebooks with so many threads."""
    return ForkServer(environment_of(threads))


def in_batches(cells: Iterable[Any]) -> list[Any]:
    """A notebook's cells without those tagged ``course``."""
    return [cell for cell in cells if COURSE not in cell["metadata"].get("tags", ())]


def _wait(
    process: subprocess.Popen[bytes] | ForkedProcess, timeout: float | None, cancelled: Callable[[], bool]
) -> int | None:
    """The exit status, or None after ``timeout`` seconds.

    Raises:
        CancelledError: ``cancelled()`` became true.
    """
    end = time.monotonic() + (timeout if timeout is not None else float("inf"))
    while time.monotonic() < end:
        if cancelled():
            raise CancelledError
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(POLL_SECONDS)
    return None


def _interrupt(process: Process) -> None:
    """Interrupt the kernel, as the button in JupyterLab does."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        os.write(process.stdin.fileno(), b"!")


def _end(process: Process) -> None:
    """End papermill and kernel, if they still run."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its kernel notices within a second and ends itself
        process.wait()


def _obey() -> None:
    """Do what comes over standard input, until it ends."""
    import psutil

    while os.read(sys.stdin.fileno(), 1):
        for kernel in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                kernel.send_signal(signal.SIGINT)
    for kernel in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            kernel.kill()
    os._exit(1)


class KernelManager(AsyncKernelManager):
    """Starts the kernel, on Linux by the process that stands by for it, with its connection file beside the output."""

    standby: ClassVar[StandbyKernel | None] = None
    beside: ClassVar[str] = ""

    async def _async_pre_start_kernel(self, **options: Any) -> tuple[list[str], dict[str, Any]]:
        self.connection_file = f"{self.beside}.kernel.json"
        if self.standby is not None and self.provisioner is None:
            self.kernel_id = self.kernel_id or str(uuid.uuid4())
            spec = self.kernel_spec
            self.provisioner = StandbyProvisioner(kernel_id=self.kernel_id, kernel_spec=spec, parent=self)
        command, rest = await super()._async_pre_start_kernel(**options)
        return command, rest


class StandbyProvisioner(LocalProvisioner):
    """Where jupyter_client would start a new process for the kernel, takes the one that stands by."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        """Make the standing process the kernel; jupyter_client's own signature."""
        standby = KernelManager.standby
        assert standby is not None
        standby.launch(cmd, options.get("env") or os.environ, options.get("cwd") or os.getcwd())
        self.process = standby  # type: ignore[assignment]
        self.pid = self.pgid = standby.pid
        return self.connection_info


def main(source: str, output: str, parameters: str) -> None:
    """What the new process does; it exits with the last line of the error where the notebook fails."""
    if sys.platform == "linux":
        KernelManager.standby = StandbyKernel(output)
    KernelManager.beside = output
    threading.Thread(target=_obey, daemon=True).start()
    import nbformat
    import papermill

    notebook = nbformat.read(source, as_version=4)
    notebook.cells = in_batches(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # papermill keeps what it is given in the notebook that it writes
    try:
        papermill.execute_notebook(
            notebook,
            output.replace("{", "{{").replace("}", "}}"),  # papermill fills in parameters between braces
            json.loads(parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=START_TIMEOUT,
            kernel_manager_class=KernelManager,
        )
    except papermill.PapermillExecutionError as error:
        sys.exit(str(error) if error.traceback else _printed(output))
    except OSError as error:
        error.filename = error.filename or output
        sys.exit(str(error))
    except RuntimeError as error:  # of nbclient
        sys.exit(KERNEL_DIED if "died" in str(error) else str(error))


def _printed(output: str) -> str:
    """What a notebook has printed last: its error, if too little memory was left to show it as one."""
    import nbformat

    cells = nbformat.read(output, as_version=4).cells
    return "".join([one.get("text", "") for cell in cells for one in cell.get("outputs", ())][-1:])


if __name__ == "__main__":
    main(*sys.argv[1:])
