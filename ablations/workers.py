"""Where runs happen: on this machine or on a cluster, behind one ``submit``."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

from dcbh_core.config import Config, require_device

from .attempt import Outcome, Task, attempt, unpacked
from .identity import changed_sources, common_sources, identify

Resolve = Callable[[Config], Config]
T = TypeVar("T")
CONNECT_SECONDS = 5  # that a scheduler may take to be connected to
ANSWER_SECONDS = 30  # that it may take to answer later, however busy, before it counts as lost
POLL_SECONDS = 1.0  # between looks at what comes and goes: workers, and runs that another runner holds


class SchedulerLost(OSError):
    """The scheduler of a batch is gone, or does not answer; runs that were going on are to be attempted again."""


@dataclasses.dataclass(frozen=True)
class Workers:
    """What makes the attempts.

    Attributes:
        submit: Starts an attempt.
        count: How many attempts go on at a time, now; on a cluster workers come and go.
        resolve: Fills in a config with the hardware of these workers.
        work: Directory for attempts, or None for each worker's own.
    """

    submit: Callable[[Task], Future[Outcome]]
    count: Callable[[], int]
    resolve: Resolve
    work: str | None


@contextlib.contextmanager
def local_workers(out: Path, jobs: int | None, threads: int) -> Iterator[Workers]:
    """Attempts on this machine. Of several GPUs each attempt sees one. Leaving the context ends all that still runs.

    Args:
        out: The output directory.
        jobs: Attempts at a time; None is one per GPU where there are several, or as many as the cores can take.
        threads: Of each attempt.
    """
    gpus = visible_gpus()
    several = len(gpus) > 1
    jobs = jobs or (len(gpus) if several else max(1, cores() // threads))
    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for gpu in itertools.islice(itertools.cycle(gpus or [""]), jobs):
        free.put(gpu)
    ended = threading.Event()

    executor = ThreadPoolExecutor(jobs)

    def attempt_on_gpu(task: Task) -> Outcome:
        gpu = free.get()
        try:
            return attempt(task, ended.is_set, {"CUDA_VISIBLE_DEVICES": gpu} if several else None)
        finally:
            free.put(gpu)

    def submit(task: Task) -> Future[Outcome]:
        return executor.submit(attempt_on_gpu, task)

    try:
        yield Workers(submit, lambda: jobs, resolved_here, str(work_directory(out)))
    finally:
        ended.set()
        executor.shutdown(cancel_futures=True)


def resolved_here(config: Config) -> Config:
    """The config filled in for this machine.

    Raises:
        ValueError: The machine has not the device that it asks for.
    """
    require_device(config.device)
    return config.resolved()


@contextlib.contextmanager
def cluster_workers(address: str, work: str | None) -> Iterator[Workers]:
    """One attempt at a time on each worker of the ``dask.distributed`` cluster whose scheduler is at ``address``.

    Args:
        address: Of the scheduler.
        work: A directory that all workers see, in which an attempt finds the checkpoint of the one before it; None is
            each worker's own scratch directory.

    Raises:
        ValueError: dask is not installed, or the workers differ from each other or from this machine in their source.
        OSError: There is no scheduler at the address.
        SchedulerLost: There is none any more, however that shows itself.
    """
    try:
        from distributed import Client
        from distributed.comm import CommClosedError
    except ImportError:
        raise ValueError('a cluster needs dask.distributed; install it with pip install -e ".[cluster]"') from None
    for logger in ("distributed", "distributed.client"):  # they log tracebacks of what is one sentence here
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    lost = SchedulerLost(f"the dask scheduler at {address} was lost")
    try:
        asyncio.run(_greet(address))
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise OSError(f"there is no dask scheduler at {address!r}: {str(error) or 'nothing answers'}") from None
    except Exception:  # whatever comes of reading a message that is none of dask's
        raise OSError(f"there is no dask scheduler at {address!r}: something else answers") from None
    executor = client.get_executor(pure=False)
    resolved: dict[tuple[str, str], tuple[str, str]] = {}

    @contextlib.contextmanager
    def connected() -> Iterator[None]:
        """Says of whatever a client raises that has no scheduler any more what it means."""
        try:
            yield
        except Exception:
            raise lost from None

    def count() -> int:
        with connected():
            return len(client.nthreads(callback_timeout=ANSWER_SECONDS))

    def submit(task: Task) -> Future[Outcome]:
        with connected():
            return executor.submit(attempt_on_cluster, task)

    def ask(function: Callable[..., T], *arguments: str) -> dict[str, T]:
        """The address of each worker -> what ``function`` gives there. It waits for a first one."""
        if not count():
            print(f"the cluster of {address} has no worker; waiting for one to join it", file=sys.stderr)
        while True:
            with connected():
                answers = client.run(function, *arguments, on_error="return") if count() else {}
            answers = {where: one for where, one in answers.items() if not isinstance(one, CommClosedError)}
            for error in answers.values():
                if isinstance(error, Exception):
                    raise error
            if answers:  # of workers that have not left meanwhile
                return answers
            time.sleep(POLL_SECONDS)

    def resolve(config: Config) -> Config:
        asked = (config.device, config.dtype)
        if asked not in resolved:
            resolved[asked] = agreed(ask(_hardware, *asked), "device and dtype")
        device, dtype = resolved[asked]
        return dataclasses.replace(config, device=device, dtype=dtype).resolved()

    try:
        changed = changed_sources(agreed(ask(common_sources), "sources"), common_sources())
        if changed:
            raise ValueError(
                f"the workers of {address} have another source than this machine ({', '.join(changed)}); install the "
                "same checkout"
            )
        yield Workers(submit, count, resolve, work)
    except CancelledError:  # a client cancels its futures when it loses the scheduler
        raise lost from None
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be what was lost
            client.close()  # which also ends what still runs


async def _greet(address: str) -> None:
    """See that a dask server is at ``address``; its client would wait for ever for one that is silent."""
    from distributed.comm import connect
    from distributed.security import Security

    how = Security().get_connection_args("client")
    connection = await asyncio.wait_for(connect(address, CONNECT_SECONDS, **how), CONNECT_SECONDS)
    connection.abort()


def attempt_on_cluster(task: Task) -> Outcome:
    """``attempt`` within a dask worker. It ends if the task is cancelled, or the runner that wants it is gone."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def cancelled() -> bool:
        # dask cannot stop a running task, but its worker knows that nobody waits for it any more.
        state = worker.state.tasks.get(key)
        return state is None or state.state not in ("executing", "long-running")

    with tempfile.TemporaryDirectory() as directory:
        [here] = identify([unpacked(task, Path(directory))], threads=task.threads)
    if here.whole != task.identity.whole:
        what = "faces" if here.sources == task.identity.sources else "source"
        return Outcome({}, 0.0, f"worker {worker.address} has other {what} than the runner; give it the same")
    return attempt(dataclasses.replace(task, work=task.work or worker.local_directory), cancelled)


def work_directory(out: Path) -> Path:
    """Where attempts, locks and plans of the output directory ``out`` lie."""
    return Path(os.path.abspath(out)) / ".work"


def visible_gpus() -> list[str]:
    """The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them."""
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(number) for number in range(torch.cuda.device_count())]


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _hardware(device: str, dtype: str) -> tuple[str, str]:
    """What a device and a dtype are on this machine, where they are "auto"."""
    config = resolved_here(Config(device=device, dtype=dtype))
    return config.device, config.dtype


def agreed(answers: dict[str, T], what: str) -> T:
    """The answer that all workers gave.

    Args:
        answers: Address of a worker -> its answer.
        what: What they were asked for, in words.

    Raises:
        ValueError: They differ.
    """
    values = list(answers.values())
    for address, value in answers.items():
        if value != values[0]:
            first = next(iter(answers))
            raise ValueError(f"the workers differ in their {what}: {first} has {values[0]}, {address} has {value}")
    return values[0]
