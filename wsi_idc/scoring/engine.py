"""Many slides at once: a dask task for each block of patches, read and classified where it runs.

Only descriptions and probabilities travel. Results are written by the process that asked, so workers need no access to
the results folder.
"""

from __future__ import annotations

import gc
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from concurrent.futures import Future as Drawing
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from distributed import Client, Future, KilledWorker
from numpy.typing import NDArray

from wsi_idc._util.files import DISK_FULL, make_folder
from wsi_idc._util.lock import FolderLock, try_lock, wait_lock
from wsi_idc.errors import OptionError, SlideError, WorkerError, WsiIdcError
from wsi_idc.io.staging import Staged
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.model.stain import Stain
from wsi_idc.scoring.file_names import RUN_FILE
from wsi_idc.scoring.handles import FileRef, RefusedRef, RemoteRef, SlideRef
from wsi_idc.scoring.results import SlideResult, SlideRun
from wsi_idc.scoring.score import Scored, block_size
from wsi_idc.scoring.scores import make_scores
from wsi_idc.scoring.tasks import (
    classify_task,
    describe_task,
    device_task,
    forget_source,
    forget_sources,
    keep_model,
)
from wsi_idc.scoring.workers import AskedModel
from wsi_idc.source import Described, Problem, SourceKind

if TYPE_CHECKING:
    from wsi_idc.model.classifier import Classifier

_TASKS_A_THREAD = 2
"""Tasks that are under way for each thread of the workers: one is worked on, one is on its way."""

_RETRIES = 2

_COUNT_EVERY_S = 2.0
"""Workers come and go: how often the scheduler is asked for them, which costs as much as a task."""

_STAGERS = 2
"""Slides of stores that are fetched at once, while others are scored."""

_LOOK_S = 5.0
"""After so long without a result, the scheduler is asked whether it is still there: one that is shut down just falls
silent."""


@dataclass(frozen=True)
class Outcome:
    """How a slide of a cohort ended.

    Attributes
    ----------
    name : str
        Of the slide's folder.
    result : SlideResult or None
        None where it failed.
    kind : str
        What the slide is: see `SlideFacts`; empty where it failed, as the next.
    mpp : tuple of float
    error : str
        Why it failed; empty where it did not.
    seconds : float
    origin_px : tuple of int
        Where QuPath counts pixels from.
    """

    name: str
    result: SlideResult | None = None
    kind: SourceKind | Literal[""] = ""
    mpp: tuple[float, float] = (math.nan, math.nan)
    error: str = ""
    seconds: float = 0.0
    origin_px: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Watch:
    """Callbacks for progress: a slide's patches were found, patches are done, a slide ended, a lock is waited for."""

    on_found: Callable[[str, int], None] = lambda name, count: None
    on_patches: Callable[[int], None] = lambda count: None
    on_slide: Callable[[Outcome], None] = lambda outcome: None
    on_wait: Callable[[str], None] = lambda holder: None


def check_devices(client: Client, model: AskedModel) -> None:
    """Load the model on all workers; UserWarning where it does not run on a GPU there."""
    # Not by tasks: one that is bound to a process which dies would wait for ever.
    found = list(client.run(device_task, model, on_error="return").values())
    for refused in found:
        if isinstance(refused, WsiIdcError):
            raise refused
    idle = found.count("cpu")
    if idle:
        warnings.warn(
            f"{idle} of the {len(found)} GPUs cannot be used, so processors score in their place: wsi-idc doctor says "
            "what is missing.",
            stacklevel=2,
        )


@contextmanager
def _asking() -> Iterator[None]:
    """Talk to the scheduler; OptionError where it is gone."""
    try:
        yield
    except (OSError, CancelledError) as error:
        raise _gone() from error


def _gone() -> OptionError:
    return OptionError(
        "The dask scheduler is gone; finished slides are kept, so start one and run the same command again, or leave "
        "out --scheduler."
    )


def _reason(error: Exception) -> str:
    """Why a slide failed, for its row."""
    if isinstance(error, KilledWorker):
        return (
            "Every worker that worked on it died, most likely for want of memory: give workers more, or fewer threads "
            "each; their logs say more."
        )
    return str(error) if isinstance(error, WsiIdcError) else f"{type(error).__name__}: {error}"


def _let_go(staging: Any) -> None:
    """Let a slide be dropped from the cache that was fetched for a run which has ended."""
    if not staging.cancelled() and staging.exception() is None:
        staging.result()[1].close()


@dataclass
class _Slide:
    """A slide that is worked on."""

    ref: SlideRef
    described: Described
    run: SlideRun
    lock: FolderLock
    began: float
    probs: NDArray[np.float32]
    left: int
    stain: Stain | None = None
    problems: dict[int, tuple[Problem, ...]] = field(default_factory=dict)
    failed: bool = False


class Cohort:
    """Score slides into their results folders.

    Parameters
    ----------
    client : Client
        See `cluster.connect`.
    refs : sequence of SlideRef
        Their names differ.
    model : Path or None
        As in `load_model`; workers load it from there.
    classifier : Classifier
        That model, loaded: threads of this process take it as it is.
    allow_code : bool
        As in `load_model`, for workers.
    out : Path
    draw : callable, optional
        Starts to draw a slide whose table is written; ``run.json`` is written when what it returns is done.
    stop_drawing : callable
        Ends what `draw` began, where the rest is given up: before another run may have the folders.
    threshold, context, batch_size, restart, command
        As in `score_into`.
    watch : Watch
    """

    def __init__(
        self,
        client: Client,
        refs: Sequence[SlideRef],
        model: Path | None,
        classifier: Classifier,
        out: Path,
        *,
        allow_code: bool = False,
        draw: Callable[[SlideRef, SlideResult], Drawing[Any]] | None = None,
        stop_drawing: Callable[[], object] = lambda: None,
        batch_size: int = DEFAULT_BATCH,
        watch: Watch = Watch(),
        **run_options: Any,
    ) -> None:
        self.model = AskedModel.of(model, classifier, allow_code)
        keep_model(self.model, classifier)
        self._client, self._out, self._watch = client, out, watch
        self._draw, self._stop_drawing = draw, stop_drawing
        self._batch_size, self._run_options = batch_size, run_options
        self._refs = deque(refs)
        self._locked: deque[SlideRef] = deque()
        self._blocks: deque[tuple[_Slide, int, int]] = deque()
        self._describing: dict[Future[Any], tuple[SlideRef, float]] = {}
        self._classifying: dict[Future[Any], tuple[_Slide, int]] = {}
        self._drawing: dict[Drawing[Any], tuple[_Slide, SlideResult]] = {}
        self._held: set[FolderLock] = set()
        self._outcomes: list[Outcome] = []
        self._threads, self._counted = 1, -math.inf
        self._stopped = Event()
        self._stagers = ThreadPoolExecutor(_STAGERS, "stager")
        self._staging: dict[Any, tuple[RemoteRef, float]] = {}
        self._staged: dict[str, tuple[RemoteRef, FileRef, Staged]] = {}

    def run(self) -> list[Outcome]:
        """Score all; a slide that fails ends none of the others."""
        # All that is loaded by now stays: looking through it for garbage takes as long as a batch does.
        frozen = gc.get_freeze_count()
        gc.freeze()
        try:
            self._work()
            while self._locked:
                # Others are at work on these: the first to be free is taken up, finished or not.
                ref = self._locked.popleft()
                folder = make_folder(self._out / ref.name)
                wait_lock(folder, self._watch.on_wait).close()
                self._refs.append(ref)
                self._work()
        except BaseException:
            self._stop_drawing()
            for slide, _ in self._drawing.values():
                slide.run.tidy()
            raise
        finally:
            if not frozen:
                gc.unfreeze()
            # What was read from lies open in this process where its own threads did the work.
            forget_sources()
            for lock in self._held:
                lock.close()
            self._stopped.set()
            for staging in self._staging:
                staging.add_done_callback(_let_go)
            self._stagers.shutdown(wait=False, cancel_futures=True)
            for _, _, staged in self._staged.values():
                staged.close()
        return self._outcomes

    def _work(self) -> None:
        done: SimpleQueue[Future[Any]] = SimpleQueue()
        self._submit(done)
        while self._staging or self._describing or self._classifying or self._drawing:
            if self._staging or self._describing or self._classifying:
                self._take(self._next(done))
            else:
                wait(self._drawing, return_when=FIRST_COMPLETED)
            self._seal_drawn()
            self._submit(done)

    def _take(self, future: Future[Any]) -> None:
        if future in self._staging:
            self._describe_staged(future, *self._staging.pop(future))
            return
        if future in self._describing:
            self._take_up(future, *self._describing.pop(future))
        else:
            self._collect(future, *self._classifying.pop(future))
        future.release()  # type: ignore[no-untyped-call]

    def _describe_staged(self, future: Any, remote: RemoteRef, began: float) -> None:
        """Have a slide described that was fetched, if it was."""
        try:
            ref, staged = future.result()
        except Exception as error:
            self._fail(remote, error, began)
            return
        self._staged[ref.name] = remote, ref, staged
        self._refs.appendleft(ref)

    def _unstage(self, name: str) -> RemoteRef | None:
        """Let a slide be dropped from the cache, if it came from a store; where it came from.

        Of a slide that failed, tasks may be under way that would open it again: the last of them has it dropped.
        """
        if name not in self._staged or any(slide.ref.name == name for slide, _ in self._classifying.values()):
            return None
        remote, ref, staged = self._staged.pop(name)
        with _asking():
            self._client.run(forget_source, ref, on_error="ignore")
        staged.close()
        return remote

    def _next(self, done: SimpleQueue[Future[Any]]) -> Future[Any]:
        """The next result there is."""
        while True:
            try:
                return done.get(timeout=0.5 if self._staging and self._drawing else _LOOK_S)
            except Empty:
                # A slide that is drawn may be the one whose room in the cache the next is waiting for.
                self._seal_drawn()
                self._count_threads()

    def _count_threads(self) -> None:
        """Of all workers."""
        with _asking():
            self._threads = max(1, sum(self._client.nthreads().values()))  # type: ignore[no-untyped-call]
        self._counted = monotonic()

    def _submit(self, done: SimpleQueue[Future[Any]]) -> None:
        """Keep the workers busy, and no more than that."""
        if monotonic() - self._counted > _COUNT_EVERY_S:
            self._count_threads()
        most = _TASKS_A_THREAD * self._threads
        while self._blocks and len(self._classifying) < most:
            slide, start, stop = self._blocks.popleft()
            if slide.failed:
                continue
            future: Future[Any] = self._client.submit(
                classify_task, slide.ref, self.model, start, stop, self._batch_size, pure=False, retries=_RETRIES
            )
            self._classifying[future] = slide, start
            future.add_done_callback(done.put)  # type: ignore[no-untyped-call]
        # Slides that wait to be drawn are held, and locked.
        while self._refs and max(len(self._blocks), len(self._describing), len(self._drawing)) < most:
            ref = self._refs[0]
            if isinstance(ref, RemoteRef):
                if len(self._staging) >= _STAGERS:
                    break
                staging = self._stagers.submit(ref.stage, self._stopped)
                self._staging[staging] = ref, monotonic()
                staging.add_done_callback(done.put)  # type: ignore[arg-type]
                self._refs.popleft()
                continue
            self._refs.popleft()
            if isinstance(ref, RefusedRef):
                self._fail(ref, SlideError(ref.reason), monotonic())
                continue
            new = not (self._out / ref.name / RUN_FILE).exists()
            future = self._client.submit(describe_task, ref, self.model, self._batch_size if new else None, pure=False)
            self._describing[future] = ref, monotonic()
            future.add_done_callback(done.put)  # type: ignore[no-untyped-call]

    def _take_up(self, future: Future[Any], ref: SlideRef, began: float) -> None:
        """Lock the folder of a slide that is described; take what is finished there, or line up its blocks."""
        lock = None
        try:
            told = future.result()
            if isinstance(told, WsiIdcError):
                raise told
            described, scorer, first = told
            lock = try_lock(make_folder(self._out / ref.name))
            if lock is None:
                self._locked.append(self._unstage(ref.name) or ref)
                return
            self._held.add(lock)
            run = SlideRun(described, scorer, self._out, **self._run_options)
        except Exception as error:
            if lock is not None:
                self._release(lock)
            self._fail(ref, error, began)
            return
        count = len(described.patches)
        self._watch.on_found(ref.name, count)
        step = block_size(self._batch_size, described.tile.size_px)
        starts = range(0, count, step)
        probs = np.full((count, len(scorer.config.classes.names)), np.nan, np.float32)
        slide = _Slide(ref, described, run, lock, began, probs, len(starts))
        if run.finished is not None:
            self._watch.on_patches(count)
            self._write(slide, run.finished)
        elif not count:
            self._write(slide, self._scored(slide))
        else:
            left = starts if first is None else starts[1:]
            self._blocks.extend((slide, start, min(start + step, count)) for start in left)
            if first is not None:
                self._put(slide, 0, *first)

    def _collect(self, future: Future[Any], slide: _Slide, start: int) -> None:
        """Take the probabilities of a block, or note that the slide failed."""
        if slide.failed:
            self._unstage(slide.ref.name)
            return
        try:
            classified = future.result()
        except Exception as error:
            slide.failed = True
            self._release(slide.lock)
            self._fail(slide.ref, error, slide.began)
            return
        self._put(slide, start, *classified)

    def _put(
        self,
        slide: _Slide,
        start: int,
        probs: NDArray[np.float32],
        problems: tuple[Problem, ...],
        stain: Stain | None,
    ) -> None:
        """Put the probabilities of a block in their place."""
        slide.stain = stain
        slide.probs[start : start + len(probs)] = probs
        slide.problems[start] = problems
        slide.left -= 1
        self._watch.on_patches(len(probs))
        if not slide.left:
            self._write(slide, self._scored(slide))

    def _scored(self, slide: _Slide) -> Scored:
        problems = [problem for start in sorted(slide.problems) for problem in slide.problems[start]]
        told = slide.described
        scores = make_scores(told.slide, told.patches, slide.probs, slide.run.threshold, slide.run.classes)
        return Scored(scores, tuple(problems), slide.stain)

    def _write(self, slide: _Slide, scored: Scored) -> None:
        try:
            result = slide.run.write(scored)
            if self._draw is not None:
                slide.run.unseal()
                self._drawing[self._draw(slide.ref, result)] = slide, result
                return
        except Exception as error:
            self._release(slide.lock)
            self._fail(slide.ref, error, slide.began)
            return
        self._seal(slide, result)

    def _seal_drawn(self) -> None:
        for drawing in [drawing for drawing in self._drawing if drawing.done()]:
            slide, result = self._drawing.pop(drawing)
            try:
                drawing.result()
            except Exception as error:
                self._release(slide.lock)
                self._fail(slide.ref, error, slide.began)
            else:
                self._seal(slide, result)

    def _seal(self, slide: _Slide, result: SlideResult) -> None:
        slide.run.seal(result)
        self._release(slide.lock)
        told = slide.described
        self._end(
            Outcome(slide.ref.name, result, told.kind, told.mpp, seconds=slide.run.seconds, origin_px=told.origin_px)
        )

    def _release(self, lock: FolderLock) -> None:
        lock.close()
        self._held.discard(lock)

    def _fail(self, ref: SlideRef, error: Exception, began: float) -> None:
        if isinstance(error, OSError) and not isinstance(error, WsiIdcError) and error.errno in DISK_FULL:
            raise error
        if isinstance(error, CancelledError):
            raise _gone() from error
        # One worker's fault would be that of slides by chance. What nobody sees any more is the slide's own.
        if isinstance(error, WorkerError) and (not error.path or Path(error.path).exists()):
            raise error
        self._end(Outcome(ref.name, error=_reason(error), seconds=monotonic() - began))

    def _end(self, outcome: Outcome) -> None:
        self._unstage(outcome.name)
        self._outcomes.append(outcome)
        self._watch.on_slide(outcome)
