"""Training loop of all families: batches cut ahead, steps, validation, checkpoints, previews."""

import contextlib
import copy
import itertools
import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import thread_time
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..host.arrays import Integers
from ..host.errors import Failure, UserError
from ..host.interrupts import SIGNALS, note
from . import checkpoint
from .checkpoint import Optimizers, Progress
from .data import Data
from .families import FAMILIES
from .network import Network, Objective
from .preview import write_preview
from .processes import together
from .repeated_step import Batch, RepeatedStep, replays
from .run import Run, trained_sources
from .shared_random import ExampleGenerator
from .threads import Threads

LISTED = 1 << 20  # examples; an order of more is calculated
ROUNDS = 6  # of the Feistel network
_MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


class ExampleOrder:
    """A random order of the numbers from 0 to ``count`` - 1.

    Up to `LISTED` numbers are permuted. Above, a cycle-walking Feistel network over an even number of bits computes
    each place (Black and Rogaway, CT-RSA 2002).
    """

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._count = count
        self._listed = rng.permutation(count) if count <= LISTED else None
        self._half = np.uint64(max(1, -(-(count - 1).bit_length() // 2)))
        self._keys = rng.integers(1 << 63, size=ROUNDS, dtype=np.uint64) if self._listed is None else None

    def __getitem__(self, places: slice) -> Integers:
        if self._listed is not None:
            return self._listed[places]
        numbers = np.arange(*places.indices(self._count), dtype=np.uint64)
        is_outside = np.ones(len(numbers), bool)
        while is_outside.any():
            numbers[is_outside] = self._permute(numbers[is_outside])
            is_outside = numbers >= self._count
        return numbers.astype(np.int64)

    def _permute(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Permute numbers by the rounds of the Feistel network."""
        assert self._keys is not None
        half_mask = (np.uint64(1) << self._half) - np.uint64(1)
        left_halves, right_halves = numbers >> self._half, numbers & half_mask
        for round_key in self._keys:
            mixed_bits = (right_halves + round_key) * _MIX[0]
            mixed_bits = (mixed_bits ^ (mixed_bits >> np.uint64(29))) * _MIX[1]
            left_halves, right_halves = right_halves, left_halves ^ ((mixed_bits >> np.uint64(32)) & half_mask)
        return (left_halves << self._half) | right_halves


AHEAD = 4  # steps that are in memory

Batches = list[tuple[Tensor, ...]]


class BatchLoader:
    """Batches by data, seed and step: ``batches`` a step, of ``batch`` examples; ``pinned`` ones for a GPU."""

    def __init__(self, data: Data[Any], seed: int, batch: int, batches: int, pinned: bool = False) -> None:
        self._data, self._seed, self._batches, self.pinned = data, seed, batches, pinned
        self.steps: int | None = None  # of the run, if they are known: none is cut ahead of the last
        self.step_examples = batch * batches
        self.epoch_steps = len(data) // self.step_examples
        self._order: tuple[int, ExampleOrder] | None = None  # an epoch and its order
        self._pool = ThreadPoolExecutor(1, "batches", torch.set_flush_denormal, (True,))  # as in the main thread
        self._ahead: dict[int, Future[Batches]] = {}  # by step

    def take(self, step: int) -> Batches:
        """Return a step's batches, and begin to cut the next ones; raise `Failure` for an unreadable corpus."""
        end_step = step + AHEAD if self.steps is None else min(step + AHEAD, max(self.steps, step + 1))
        self._ahead = {
            ahead_step: self._ahead.get(ahead_step) or self._pool.submit(self._cut, ahead_step)
            for ahead_step in range(step, end_step)
        }
        try:
            return self._ahead[step].result()
        except OSError as error:
            raise Failure(f"cannot read the corpus: {error.strerror or error}; go on with --resume") from error

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _cut(self, step: int) -> Batches:
        """Return the batches of a step, by the order of its epoch."""
        epoch, epoch_step = divmod(step, self.epoch_steps)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, ExampleOrder(len(self._data), np.random.default_rng([self._seed, epoch, 1]))
        example_indices = self._order[1][epoch_step * self.step_examples : (epoch_step + 1) * self.step_examples]
        batches = [
            self._data.batch(batch_indices, np.random.default_rng(self.seeds(step, batch_index)))
            for batch_index, batch_indices in enumerate(example_indices.reshape(self._batches, -1))
        ]
        return [tuple(tensor.pin_memory() for tensor in batch) for batch in batches] if self.pinned else batches

    def seeds(self, step: int, batch_index: int) -> list[int]:
        """Return the seeds of a step's batch."""
        # An order has another number in this place.
        return [self._seed, step, *([0, batch_index] if batch_index else [])]


VALIDATION_FRAMES = 4096  # evenly spaced: evaluated within a fraction of a second, with little variance
VALIDATION_STEPS = 200  # with shorter epochs, validate after enough epochs for this many steps
LONGEST_STEPS = 1000  # with longer epochs, validate and save within them
SAVE_SECONDS = 10.0  # with shorter epochs, the maximum age of the last checkpoint
REPORT_SECONDS = 0.5  # between reports of the progress
PREVIEW_SECONDS = 60.0  # between previews: often enough to follow a run's progress
DEAD_FRAMES = 512  # training frames to test for varying latents; the validation split may hold one steady sound
WARM_UP = 0.02  # of the budget, over which a cosine schedule rises to the learning rate
FLOOR = 0.01  # of the learning rate, at the end of a cosine schedule


@dataclass(frozen=True)
class RunStatus:
    step: int
    budget_share: float  # share of the budget, 0 to 1
    loss: float
    examples_per_second: float
    seconds_left: float
    terms: dict[str, float] = field(default_factory=dict)  # of the loss, unweighted


@dataclass
class RunOptions:
    """``on_initialised`` is called before the first step of a run, and must leave the network as it is.

    ``until`` is the share of the budget at which to pause, above 0 to 1.
    """

    accelerator: str = "auto"
    devices: int = 1
    tensorboard: bool = False
    until: float = field(default=1.0, kw_only=True)
    nodes: int = field(default=1, kw_only=True)
    on_report: Callable[[RunStatus], None] | None = None
    on_message: Callable[[str], None] | None = None
    on_initialised: Callable[[Run, Network], None] | None = None


def score_of(validation: Mapping[str, float]) -> float:
    """Return the measure of a validation's terms, the lower the better: the Fréchet distance, where there is one."""
    return validation.get("frechet", validation["total"])


class Diverged(Failure):
    """The loss is not finite."""


@dataclass
class Outcome:
    """``steps`` were done by this call, ``idle_steps`` are those of an idle core in the same time.

    Outcomes of equal trainings are equal, in one call or in several.
    """

    step: int
    validation: float
    dead: bool
    interrupted: bool
    steps: int = field(default=0, compare=False)
    idle_steps: int = field(default=0, compare=False)


@dataclass
class Stop:
    """Ends the loop after a step on signals such as SIGTERM; a second Ctrl-C stops at once.

    With ``forward`` child processes run the loop and receive the signal.
    """

    forward: bool = False
    requested: bool = False
    _old_handlers: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> "Stop":
        for signal_number in SIGNALS:
            if signal.getsignal(signal_number) is not signal.SIG_IGN:
                self._old_handlers[signal_number] = signal.signal(signal_number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for signal_number, old_handler in self._old_handlers.items():
            signal.signal(signal_number, old_handler)

    def _ask(self, signal_number: int, frame: FrameType | None) -> None:
        note(signal_number)
        if self.forward:
            for child in multiprocessing.active_children():
                child.terminate()  # SIGTERM
        if self.requested and signal_number == signal.SIGINT:  # a closing terminal sends several other signals
            raise KeyboardInterrupt
        self.requested = True


def train(fabric: Fabric, run: Run, options: RunOptions) -> Outcome:
    """Train a run from its last checkpoint until its budget is spent or a signal stops it."""
    recipe = run.recipe
    source_networks = trained_sources(run)
    torch.manual_seed(recipe.training.seed)
    family = FAMILIES[recipe.family]
    plain_network = family.network(recipe, **source_networks)
    optimizers = {
        name: adam_settings.over(plain_network, recipe.training)
        for name, adam_settings in plain_network.optimisers.items()
    }
    # Setup moves the state to the device, and so comes before restoring.
    wrapped_network, *wrapped_optimizers = fabric.setup(plain_network, *optimizers.values())
    progress = checkpoint.restore(run.last, plain_network, optimizers) if run.last.exists() else Progress()
    if options.on_message and not progress.step:
        options.on_message(family.describe(run.corpus(), recipe))
    with together():
        data = family.data(run.corpus(), recipe, run.folder)
    if min(len(data) // plain_network.batches_a_step, recipe.training.batch_size) < fabric.world_size:
        raise UserError(
            f"corpus {run.info.corpus_name} has {len(data)} training frames, and a step takes "
            f"{plain_network.batches_a_step} batches of at least {fabric.world_size} of up to "
            f"{recipe.training.batch_size}; "
            + ("add sounds" if fabric.world_size == 1 else "train with fewer processes, or add sounds")
        )
    if not progress.step:
        trial_run = run.trial()
        # A trial whose latents never varied has no best checkpoint.
        if trial_run is not None and trial_run.best.exists() and not family.measured:
            checkpoint.restore(trial_run.best, plain_network)
        else:
            plain_network.initialise(data)
        if options.on_initialised is not None:
            options.on_initialised(run, plain_network)
    if recipe.training.patience is not None and not family.measures_quality(plain_network):
        raise UserError(
            f"training.patience waits for better validations, and the losses of {recipe.name} compete: none of them "
            "measures quality; leave it out"
        )
    torch.set_flush_denormal(True)  # small weights under the penalty would slow every step
    try:
        uses_tf32 = recipe.training.precision == "tf32" and fabric.device.type == "cuda"
        if recipe.training.precision == "tf32" and not uses_tf32 and options.on_message:
            options.on_message("training.precision=tf32 is for GPUs of CUDA, and has no effect here")
        with Stop() as stop, contextlib.closing(Threads(fabric.device)) as threads, _tf32_products(uses_tf32):
            network_and_optimizers = (wrapped_network, dict(zip(optimizers, wrapped_optimizers, strict=True)))
            loop = _Loop(
                fabric, run, options, (plain_network, optimizers), network_and_optimizers, progress, data, stop, threads
            )
            with contextlib.closing(loop.loader):
                with together():
                    if recipe != Run.open(run.folder).recipe:  # its budget is a new one
                        loop.check_budget()
                        if fabric.is_global_zero:
                            run.with_recipe(recipe)
                return loop.run()
    finally:
        torch.set_flush_denormal(False)


class _Loop:
    def __init__(
        self,
        fabric: Fabric,
        run: Run,
        options: RunOptions,
        plain: tuple[Network, Optimizers],
        wrapped: tuple[Any, dict[str, Any]],  # the same, wrapped by Fabric
        progress: Progress,
        data: Data[Any],
        stop: Stop,
        threads: Threads,
    ) -> None:
        self.fabric, self.folder, self.options, self.data, self.stop = fabric, run, options, data, stop
        self.threads = threads
        self.recipe = run.recipe
        self.progress = progress
        self.plain, self.plain_optimizers = plain
        self.network, self.optimizers = wrapped
        training_settings, batch_count = self.recipe.training, self.plain.batches_a_step
        batch_size = (
            min(training_settings.batch_size, len(data) // batch_count) // fabric.world_size * fabric.world_size
        )
        is_pinned = fabric.device.type == "cuda"
        self.loader = BatchLoader(data, training_settings.seed, batch_size, batch_count, is_pinned)
        self.epoch_steps = progress.epoch_steps = self.loader.epoch_steps
        self.validation_steps = min(self.epoch_steps * math.ceil(VALIDATION_STEPS / self.epoch_steps), LONGEST_STEPS)
        self.last_step = training_settings.steps or (
            training_settings.epochs and training_settings.epochs * self.epoch_steps
        )
        self.loader.steps = self.last_step
        self.began = time.monotonic() - progress.seconds
        self.saved = self.previewed = time.monotonic()
        self.terms: dict[str, Tensor] = {}
        self.term_sums, self.summed_steps = torch.zeros(()), 0  # of the steps since the last validation, total first
        self.dead = False
        self.is_best = False  # the weights are the best ones, since the last validation
        self.best_contents: dict[str, Any] | None = None  # of a checkpoint that is to be written
        self.validation = progress.best
        self.judged_step = progress.step
        self.logged_step = next((entry["step"] for entry in reversed(run.logged())), None)
        self.writer = self._tensorboard_writer()
        self.move_weights: Callable[[Sequence[Batch]], Tensor] = self._move_weights
        if training_settings.cuda_graphs and replays(fabric):
            self.move_weights = RepeatedStep(self._move_weights, self.optimizers.values(), fabric.device)
        elif training_settings.cuda_graphs and options.on_message:
            options.on_message("training.cuda_graphs is for training on one GPU, and has no effect here")

    def check_budget(self) -> None:
        """Raise `UserError` if the run has done more than its budget."""
        minutes, done_minutes = self.recipe.training.minutes, self.progress.seconds / 60
        if self.last_step and self.progress.step > self.last_step:
            done_text = f"{self.progress.step} steps"
        elif minutes is not None and done_minutes > minutes:
            done_text = f"{done_minutes:.3g} minutes"
        else:
            return
        budget_text = next(f"{name}={limit:g}" for name, limit in self.recipe.training.budget.items() if limit)
        raise UserError(
            f"training.{budget_text} is less than the {done_text} that run {self.folder.folder} has done; "
            "give a larger budget, or train into a new folder"
        )

    def run(self) -> Outcome:
        loss = torch.zeros(())
        start_seconds, start_cpu_seconds, first_step = time.monotonic(), thread_time(), self.progress.step
        last_report_seconds, last_report_step = time.monotonic(), self.progress.step
        while True:
            budget_share, stop_requested = self._agreed_progress(loss)
            if budget_share >= self.options.until or stop_requested:
                break
            with self.threads.step():
                loss = self._step(budget_share)
            self.progress.step += 1
            self._sum_terms(loss)
            now = time.monotonic()
            if now - last_report_seconds > REPORT_SECONDS:
                self._report(float(loss), (self.progress.step - last_report_step) / (now - last_report_seconds))
                last_report_seconds, last_report_step = now, self.progress.step
            if self.progress.step % self.validation_steps == 0:
                self._validate()
            if self.progress.step % min(self.epoch_steps, self.validation_steps) == 0:
                self._save(only_if_due=self.epoch_steps < VALIDATION_STEPS)
        if budget_share < self.options.until and self.options.on_message:
            self.options.on_message("stopping: measuring and saving first; Ctrl-C again stops at once, without saving")
        self._check(float(loss))
        # An arbitrary moment of Ctrl-C must not decide the exported weights.
        self._validate(may_be_best=budget_share >= 1.0)
        self._save()
        if self.writer:
            self.writer.close()
        step_count = self.progress.step - first_step
        core_share = min(
            1.0, max(thread_time() - start_cpu_seconds, 1e-9) / max(time.monotonic() - start_seconds, 1e-9)
        )
        return Outcome(
            self.progress.step,
            self.validation,
            self.dead,
            interrupted=max(budget_share, self._spent_share()) < self.options.until,
            steps=step_count,
            idle_steps=round(step_count / core_share),
        )

    def _step(self, budget_share: float) -> Tensor:
        """Move the weights by each objective in turn; return the first one's loss."""
        for name, optimizer in self.optimizers.items():
            for parameter_group in optimizer.param_groups:
                parameter_group["lr"] = self._learning_rate(
                    self.plain.optimisers[name].rate(self.recipe.training), budget_share
                )
        loss = self.move_weights(
            [self._process_examples(*batch) for batch in enumerate(self.loader.take(self.progress.step))]
        )
        self.plain.follow_weights()
        return loss

    def _move_weights(self, batches: Sequence[Batch]) -> Tensor:
        objectives, own_batches = self.plain.objectives, iter(batches)
        shared_batches = [] if all(objective.batches for objective in objectives) else [next(own_batches)]
        losses = [
            self._move(objective, *batch)
            for objective in objectives
            for batch in (itertools.islice(own_batches, objective.batches) if objective.batches else shared_batches)
        ]
        return losses[0]

    def _process_examples(self, batch_index: int, batch: tuple[Tensor, ...]) -> Batch:
        """Return this process's examples of a batch, on its device, and their generator."""
        rank, world_size = self.fabric.global_rank, self.fabric.world_size
        seeds = self.loader.seeds(self.progress.step, batch_index)
        examples = [
            batch_tensor[rank::world_size].to(self.fabric.device, non_blocking=self.loader.pinned)
            for batch_tensor in batch
        ]
        generator = ExampleGenerator()
        generator.manual_seed(hash((*seeds, 0)) & 0x7FFFFFFFFFFFFFFF)
        generator.rank, generator.processes = rank, world_size
        return examples, generator

    def _move(self, objective: Objective, batch: list[Tensor], generator: torch.Generator) -> Tensor:
        """Move the weights by one objective's gradient; return its loss."""
        terms = self.network(objective.name, *batch, generator)
        loss = self.plain.total(terms)
        if objective is self.plain.objectives[0]:
            self.terms = {name: term.detach() for name, term in terms.items()}
        self.plain.zero_grad()
        self.fabric.backward(loss)
        optimizer, largest_norm = (
            self.optimizers[objective.optimiser],
            self.plain.optimisers[objective.optimiser].largest_norm,
        )
        if largest_norm is not None:  # `_check` reports a loss that is not finite
            self.fabric.clip_gradients(self.network, optimizer, max_norm=largest_norm, error_if_nonfinite=False)
        optimizer.step()
        return loss.detach()

    def _sum_terms(self, loss: Tensor) -> None:
        """Add a step's loss and its terms to the sums."""
        values = torch.stack([loss.detach(), *self.terms.values()])
        self.term_sums = self.term_sums + values if self.summed_steps else values
        self.summed_steps += 1

    def _training_means(self) -> dict[str, float]:
        """Return the mean of each term over the steps since the last call, and of their total; empty without steps."""
        if not self.summed_steps:
            return {}
        means = self.fabric.all_reduce(self.term_sums / self.summed_steps, reduce_op="mean")
        assert isinstance(means, Tensor)
        self.summed_steps = 0
        return dict(zip(("total", *self.terms), means.tolist(), strict=True))

    def _spent_share(self) -> float:
        patience = self.recipe.training.patience
        if patience is not None and self.progress.stale >= patience:
            return 1.0
        if self.last_step:
            return self.progress.step / self.last_step
        assert self.recipe.training.minutes is not None
        return (time.monotonic() - self.began) / (60 * self.recipe.training.minutes)

    def _agreed_progress(self, loss: Tensor) -> tuple[float, bool]:
        """Processes agree on the share of the budget and on stopping; all raise for an infinite loss."""
        if self.fabric.world_size == 1:
            return self._spent_share(), self.stop.requested
        local_state = torch.tensor([self._spent_share(), float(self.stop.requested), float(not math.isfinite(loss))])
        agreed_state = self.fabric.all_reduce(local_state, reduce_op="max")
        assert isinstance(agreed_state, Tensor)
        budget_share, stop_requested, has_diverged = agreed_state.tolist()
        self._check(math.nan if has_diverged else 0.0)
        return budget_share, bool(stop_requested)

    def _learning_rate(self, highest_rate: float, budget_share: float) -> float:
        if self.recipe.training.schedule == "constant":
            return highest_rate
        cosine_factor = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * budget_share))
        return highest_rate * min(1.0, budget_share / WARM_UP + 0.01) * cosine_factor

    def _report(self, loss: float, steps_per_second: float) -> None:
        if self.fabric.world_size == 1:
            self._check(loss)
        if self.options.on_report and self.fabric.is_global_zero:
            budget_share = self._spent_share()
            elapsed_seconds = time.monotonic() - self.began
            seconds_left = elapsed_seconds * (1 - budget_share) / max(budget_share, 1e-9)
            terms = {name: float(term) for name, term in self.terms.items()}
            examples_per_second = steps_per_second * self.loader.step_examples
            status = RunStatus(
                self.progress.step, min(1.0, budget_share), loss, examples_per_second, seconds_left, terms
            )
            self.options.on_report(status)

    def _check(self, loss: float) -> None:
        """Raise `Diverged` for a loss that is not finite."""
        if not math.isfinite(loss):
            self._save_best()
            hint = f"; the last good checkpoint is {self.folder.last}" if self.folder.last.exists() else ""
            raise Diverged(
                f"the loss is {loss} at step {self.progress.step}: training has diverged; "
                f"train again with a lower training.learning_rate than {self.recipe.training.learning_rate:g}{hint}"
            )

    @torch.no_grad()
    def _validate(self, may_be_best: bool = True) -> None:
        with _evaluating(self.plain):
            mean_terms = self._validation_means()
            spread_inputs = [batch_tensor.to(self.fabric.device) for batch_tensor in self.data.spread(DEAD_FRAMES)]
            self.dead = not self.plain.varies(*spread_inputs)
            health_figures = self._health()
        self._check(mean_terms["total"])
        mean_terms |= health_figures
        training_means = self._training_means()
        self.validation = mean_terms["total"]
        self.progress.seconds = time.monotonic() - self.began
        if not self.fabric.is_global_zero:
            return
        # Else a finished run is resumed, or its last step was due anyway.
        if self.progress.step != self.logged_step:
            entry = {"step": self.progress.step, "seconds": round(self.progress.seconds, 3), **mean_terms}
            self.folder.log(entry | ({"training": training_means} if training_means else {}))
            self.logged_step = self.progress.step
        if self.writer:
            for folder, means in (("val", mean_terms), ("train", training_means)):
                for term_name, mean_term in means.items():
                    self.writer.add_scalar(f"{folder}/{term_name}", mean_term, self.progress.step)
        if self.dead and self.options.on_message:
            self.options.on_message(
                f"step {self.progress.step}: the latents have stopped varying, every sound gets the same code, and "
                "knobs do nothing: if this lasts, train with another training.seed or a lower learning rate"
            )
        is_new, self.judged_step = self.progress.step != self.judged_step, self.progress.step
        # Adversarial losses do not measure quality: without another measure, the newest checkpoint counts as the best.
        score = score_of(mean_terms)
        family = FAMILIES[self.recipe.family]
        is_better = not family.measures_quality(self.plain) or score < self.progress.best
        if may_be_best and is_better and not self.dead:
            self.progress.best, self.progress.stale = score, 0
            self.is_best = True
        elif may_be_best and is_new:
            self.progress.stale += 1
            if self.progress.stale == self.recipe.training.patience and self.options.on_message:
                self.options.on_message(
                    f"step {self.progress.step}: ending before the budget, after {self.progress.stale} validations "
                    "without a better one (training.patience)"
                )
        if checkpoint_count := self.recipe.training.keep:
            checkpoint.keep(
                self.folder.kept_checkpoints, self.plain, self.plain_optimizers, self.progress, checkpoint_count
            )
        if family.previewed and time.monotonic() - self.previewed > PREVIEW_SECONDS:
            self.previewed = time.monotonic()
            preview_folder, step = self.folder.folder / "preview", self.progress.step
            sounds = family.preview_sounds(self.plain, self.recipe, self.data)
            write_preview(preview_folder, sounds, self.recipe.frames.sample_rate, step, pictured=family.pictured)

    def _health(self) -> dict[str, float]:
        if not self.fabric.is_global_zero:
            return {}
        family = FAMILIES[self.recipe.family]
        health_figures = family.health(self.plain, self.data, self.recipe.frames.sample_rate)
        if health_figures and self.options.on_message:
            self.options.on_message(f"step {self.progress.step}: {family.health_line(health_figures)}")
        return health_figures

    def _validation_means(self) -> dict[str, float]:
        """Return the mean of each loss term over the validation frames, and of their total."""
        term_sums: dict[str, float] = {}
        example_count = 0
        for batch in self.data.validation(VALIDATION_FRAMES):
            examples = [batch_tensor.to(self.fabric.device) for batch_tensor in batch]
            terms: dict[str, Tensor] = {}
            for objective in self.plain.objectives:
                with torch.set_grad_enabled(objective.differentiates):
                    objective_terms = self.plain(objective.name, *examples, torch.Generator().manual_seed(0))
                objective_terms = {name: term.detach() for name, term in objective_terms.items()}
                terms |= (
                    {"total": self.plain.total(objective_terms)} | objective_terms if not terms else objective_terms
                )
            for name, term in terms.items():
                term_sums[name] = term_sums.get(name, 0.0) + float(term) * len(examples[0])
            example_count += len(examples[0])
        return {name: term_sum / example_count for name, term_sum in term_sums.items()}

    def _save(self, only_if_due: bool = False) -> None:
        """Save the best and the last checkpoint, the last one unless a weight is not finite."""
        now = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        is_due = not only_if_due or now - self.saved >= SAVE_SECONDS
        if self.is_best:
            self.is_best = False
            self.best_contents = checkpoint.contents(self.plain, self.plain_optimizers, self.progress)
            if not is_due:  # a GPU validates several times a second
                self.best_contents = copy.deepcopy(self.best_contents)
        if not is_due:
            return
        self.saved = now
        self._save_best()
        self.progress.seconds = now - self.began
        if all(bool(p.isfinite().all()) for p in self.plain.parameters()):
            checkpoint.save(self.folder.last, self.plain, self.plain_optimizers, self.progress)

    def _save_best(self) -> None:
        if self.best_contents is not None:
            checkpoint.write(self.folder.best, self.best_contents)
            self.best_contents = None

    def _tensorboard_writer(self) -> Any:
        if not self.options.tensorboard or not self.fabric.is_global_zero:
            return None
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder.folder / "tensorboard"))


@contextlib.contextmanager
def _tf32_products(enabled: bool) -> Iterator[None]:
    """Let a GPU compute products of matrices in TensorFloat-32."""
    if not enabled:
        yield
        return
    earlier_precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(earlier_precision)


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode, and its modules back in theirs."""
    training_modules = [module for module in network.modules() if module.training]
    network.eval()
    yield
    for module in training_modules:
        module.training = True
