"""Notebooks' processes, forked from one that has imported everything: a start costs a moment instead of seconds.

A fork server is ``python -m ablations.forking``, started once. For each notebook it forks a watcher, which forks the
process that runs papermill, which has forked the kernel before. Each asks the system (Linux) to be killed as soon as
its parent ends, so none outlives the process that asked for it, not even a stopped one.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

# What a notebook's process and its kernel import anyway.
IMPORTS = (
    "papermill",
    "nbclient",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "matplotlib.pyplot",
    "seaborn",
    "pandas",
    "scipy.stats",
    "sklearn.metrics",
    "safetensors.torch",
    "torch",
    "tqdm.auto",
    "dcbh_core.figures",
    "ablations.run_directory",
    "ablations.records",
)
REQUEST_SIZE = 2**20
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15


class ForkServer:
    """A process to fork from, and the line to it.

    It is started when it is first needed, and ends with this process.

    Args:
        variables: Its environment. What libraries read when they are imported must be in it, as numbers of threads.
    """

    def __init__(self, variables: Mapping[str, str]):
        self.variables = dict(variables)
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, if it does not run.

        Raises:
            OSError: It cannot be started.
        """
        if self.process is not None and self.process.poll() is None:
            return
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        started: Future[subprocess.Popen[bytes]] = Future()

        def launch() -> None:
            # The system ends the server with the thread that started it, so this one stays until the server has ended.
            try:
                # A session of its own: Ctrl-C in the terminal reaches the asking process alone.
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=self.variables,
                    start_new_session=True,
                )
            except OSError as error:
                started.set_exception(error)
                return
            started.set_result(process)
            process.wait()

        threading.Thread(target=launch, daemon=True).start()
        try:
            self.process = started.result()
        finally:
            theirs.close()

    def fork(self, arguments: list[str], messages: int, environment: Mapping[str, str]) -> ForkedProcess:
        """A new process that calls ``execution.main(*arguments)`` in this process's directory.

        Args:
            arguments: What ``execution.main`` takes.
            messages: File descriptor that its standard output and error go to.
            environment: Its variables, all of them.
        """
        request = {"arguments": arguments, "directory": os.getcwd(), "environment": dict(environment)}
        data = json.dumps(request).encode()
        commands, ours = os.pipe()
        status, theirs = os.pipe()
        try:
            with self.lock:
                self.start()  # it may have been killed, perhaps as memory ran out
                socket.send_fds(self.control, [data], [commands, messages, theirs])
        finally:
            os.close(commands)
            os.close(theirs)
        return ForkedProcess(ours, status)


class ForkedProcess:
    """What a notebook's process is to the one that asked for it, in the words of ``subprocess.Popen``."""

    def __init__(self, commands: int, status: int):
        self.stdin = os.fdopen(commands, "wb", buffering=0)
        self.status = os.fdopen(status, "rb", buffering=0)
        self.returncode: int | None = None
        self.ended = threading.Event()
        self.pid = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with self.status as lines:
            words = lines.readline(), lines.readline()
        self.pid = int(words[0] or 0)
        self.returncode = int(words[1]) if words[1] else -signal.SIGKILL  # the watcher was killed, and all below it
        self.ended.set()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: It is not there after ``timeout`` seconds.
        """
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired("papermill", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """End it by force."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def serve(control: socket.socket, main: Callable[..., None]) -> None:
    """Fork for each request, until the asking process ends."""
    die_with_parent("fork server")
    for module in IMPORTS:
        with contextlib.suppress(ImportError, MemoryError):  # whoever misses it will say so
            importlib.import_module(module)
    gc.freeze()  # so that the children share its memory
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # watchers need no burial
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, REQUEST_SIZE, 3)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            with _only_this():
                _watch(json.loads(data), descriptors, main)
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(request: dict[str, Any], descriptors: list[int], main: Callable[..., None]) -> None:
    """Fork the notebook's process and tell what becomes of it."""
    commands, messages, status = descriptors
    die_with_parent("watcher")
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        os.close(commands)
        os.write(status, f"{pid}\n".encode())
        _, code = os.waitpid(pid, 0)
        os.write(status, f"{os.waitstatus_to_exitcode(code)}\n".encode())
        return
    with _only_this():
        die_with_parent(f"mill {_token(request['arguments'][1])}")
        os.close(status)
        for descriptor, standard in ((commands, 0), (messages, 1), (messages, 2)):
            os.dup2(descriptor, standard)
        os.close(commands)
        os.close(messages)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        sys.path[0] = request["directory"]
        main(*request["arguments"])


class StandbyKernel:
    """A forked process that becomes a kernel once it is told which; to jupyter_client, a ``subprocess.Popen``.

    It is forked before its parent has threads, which a fork would not take along.

    Args:
        output: Where the executed notebook goes.
    """

    stdin = stdout = stderr = None

    def __init__(self, output: str) -> None:
        commands, self.commands = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.commands)
            with _only_this():
                die_with_parent(f"kernel {_token(output)}")
                os.setsid()
                with os.fdopen(commands) as pipe:
                    told = pipe.read()
                if told:
                    _become_kernel(**json.loads(told))
        os.close(commands)

    def launch(self, command: list[str], environment: Mapping[str, str], directory: str) -> None:
        """Let it be the kernel that ``command`` would start: ``[python, -m, ipykernel_launcher, ...]``."""
        with os.fdopen(self.commands, "w") as pipe:
            json.dump({"arguments": command[2:], "environment": dict(environment), "directory": directory}, pipe)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        if self.returncode is None:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(code)
        return self.returncode

    def wait(self) -> int:
        """The exit status, once it has ended."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by force."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def _become_kernel(arguments: list[str], environment: dict[str, str], directory: str) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = arguments
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


def _token(output: str) -> str:
    """What tells an attempt's directory from all others; see ``attempt.take_over``."""
    return os.path.basename(os.path.dirname(output))[-8:]


def die_with_parent(name: str) -> None:
    """Ask the system to kill this process when its parent ends, however that is, and to list it under a name.

    Args:
        name: What ``top`` shows; at most 15 characters, as Linux keeps no more.
    """
    parent = os.getppid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_NAME, name.encode()[:15])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before we had asked
        os._exit(1)


@contextlib.contextmanager
def _only_this() -> Iterator[None]:
    """What a forked process does; it never returns to what its parent was doing."""
    status = 1  # also where there is no room for what it has to say
    try:
        yield
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        if isinstance(ending.code, str):
            print(ending.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


if __name__ == "__main__":
    from .execution import main

    serve(socket.socket(fileno=int(sys.argv[1])), main)
