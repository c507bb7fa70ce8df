"""The loop: take batches, add gradients, step; and every so often keep, log and measure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, final

import numpy as np
import torch
from torch import nn

from sublayer.config.schema import Recipe
from sublayer.data.batch import Step
from sublayer.data.order import Order
from sublayer.layers.place import device_of
from sublayer.models.hub import network_tensors, write_tensors
from sublayer.objectives.base import Objective
from sublayer.training.callbacks import Listener
from sublayer.training.checkpoint import (
    Progress,
    Window,
    load_checkpoint,
    prune,
    save_checkpoint,
    step_folders,
)
from sublayer.training.clock import Clock
from sublayer.training.diagnose import first_bad_module
from sublayer.training.every import Every, Moment
from sublayer.training.log import Log
from sublayer.training.optimizers import make_optimizer
from sublayer.training.precision import autocast, product_type
from sublayer.training.run import Run
from sublayer.training.schedules import Rate
from sublayer.training.validation import Validator


@final
class Trainer:
    """One run, from where its folder stands to its end.

    What happens at a step happens in one order: checkpoint, log, validation. A resumed run takes up
    after the checkpoint, so it logs and measures at that step again, with the same numbers.
    """

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        network: nn.Module,
        objective: Objective,
        order: Order,
        validator: Validator,
        rate: Rate,
        listeners: Sequence[Listener] = (),
    ) -> None:
        t = recipe.training
        self.run, self.recipe, self.network, self.objective = run, recipe, network, objective
        self.order, self.validator, self.rate, self.listeners = order, validator, rate, listeners
        self.device = device_of(network)
        self.autocast = autocast(t.precision, self.device)
        self.optimizer = make_optimizer(
            network, t.optimizer, product_type(t.precision, self.device)
        )
        self.every = {
            name: Every.parse(getattr(t, name)) for name in ("log", "evaluate", "checkpoint")
        }
        self.progress = Progress()

    def fit(self, clock: Clock) -> None:
        """Train to the end; a folder that holds checkpoints is taken up at the newest.

        Raises:
            ValueError: the loss is no longer a number, or a checkpoint is damaged.
        """
        folders = step_folders(self.run.checkpoints)
        if folders:
            self.progress = load_checkpoint(folders[-1], self.network, self.optimizer)
        log = Log(self.run.metrics, self.progress.step)
        batches = self._batches()
        self.network.train()
        clock.begin(self.progress.step, self.progress.now.minutes)
        try:
            while not self._events(log):
                self._step(batches)
                self._advance(clock)
        finally:
            log.close()

    def _batches(self) -> Iterator[Step]:
        """From where the run stands, without end."""
        p, task = self.progress, self.validator.task
        while True:
            for rows in islice(self.order.epoch(p.epoch), p.batch, None):
                random = np.random.default_rng([self.recipe.seed, p.epoch, p.batch])
                p.batch, p.rows = p.batch + 1, p.rows + len(rows)
                yield task.training_batch(self.order.rows(rows), random)
            p.epoch, p.batch, p.rows = p.epoch + 1, 0, 0

    def _step(self, batches: Iterator[Step]) -> None:
        """One step of the optimizer, on the batches' gradients over the number of their tokens."""
        t, p = self.recipe.training, self.progress
        taken = list(islice(batches, t.accumulate))
        tokens, read = sum(b.tokens for b in taken), sum(b.read for b in taken)
        self.optimizer.zero_grad(set_to_none=True)
        total = nll = torch.zeros((), device=self.device)
        for batch in taken:
            with self.autocast:
                loss = self.objective(self.network, batch.to(self.device))
            (loss.total / tokens).backward()
            total, nll = total + loss.total.detach(), nll + loss.parts["nll"]
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), t.clip or math.inf, foreach=True
        )
        total_sum, nll_sum, norm_value = torch.stack([total, nll, norm]).tolist()
        if not math.isfinite(total_sum + norm_value):
            raise ValueError(self._not_finite(taken))
        p.lr = self.rate(p.step + 1, p.now.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = p.lr
        self.optimizer.step()
        p.step += 1
        p.window = p.window.plus(total_sum, nll_sum, norm_value, tokens, read)

    def _not_finite(self, taken: list[Step]) -> str:
        def again() -> None:
            for batch in taken:
                with self.autocast:
                    self.objective(self.network, batch.to(self.device))

        where = first_bad_module(self.network, again)
        return (
            f"step {self.progress.step + 1}: the loss or its gradient is not a finite number; "
            f"first bad: {where}; lower training.schedule.lr, raise its warmup, "
            "or train in float32, and give another --out"
        )

    def _advance(self, clock: Clock) -> None:
        """Time and progress at the end of a step."""
        t, p = self.recipe.training, self.progress
        epoch = p.epoch + p.rows / len(self.order)
        minutes = clock.tick(p.step)
        bounds = ((p.step, t.steps), (epoch, t.epochs), (minutes, t.minutes))
        share = max(reached / bound for reached, bound in bounds if bound is not None)
        p.before, p.now = p.now, Moment(p.step, epoch, minutes, min(share, 1.0))
        for listener in self.listeners:
            listener.on_step(p.now)

    def _events(self, log: Log) -> bool:
        """Keep, log and measure what is due; whether the run is over."""
        t, p = self.recipe.training, self.progress
        if p.step == 0:
            return False
        is_over = p.now.progress >= 1
        due = {
            name for name, every in self.every.items() if is_over or every.is_due(p.before, p.now)
        }
        if "checkpoint" in due:
            self._checkpoint()
        if "log" in due:
            self._log(log)
        if "evaluate" in due:
            self._validate(log)
        return is_over or (t.patience > 0 and p.worse >= t.patience)

    def _checkpoint(self) -> None:
        folder = self.run.checkpoints / f"step-{self.progress.step:08d}"
        if not folder.exists():  # a resumed run stands at the one it came from
            save_checkpoint(folder, self.network, self.optimizer, self.progress)
        prune(self.run.checkpoints, self.recipe.training.average)

    def _log(self, log: Log) -> None:
        p = self.progress
        record = {"step": p.step, "epoch": p.now.epoch, "minutes": p.now.minutes, "split": "train"}
        self._tell(log, record | p.window.means(p.now.minutes) | {"lr": p.lr})
        p.window = Window(since=p.now.minutes)

    def _validate(self, log: Log) -> None:
        p, best = self.progress, self.recipe.training.best
        fields, samples = self.validator.measure(self.network, self.objective, self.autocast)
        if not fields:
            return
        value = fields[best] if best in fields else fields["metrics"][best]
        worth = value if self.validator.higher_is_better else -value
        if p.best is None or worth > p.best:
            p.best, p.best_step, p.worse = worth, p.step, 0
            write_tensors(network_tensors(self.network), self.run.best)
        else:
            p.worse += 1
        record = {"step": p.step, "epoch": p.now.epoch, "minutes": p.now.minutes, "split": "valid"}
        self._tell(log, record | fields)
        for listener in self.listeners:
            listener.on_samples(samples)

    def _tell(self, log: Log, record: dict[str, Any]) -> None:
        log.write(record)
        for listener in self.listeners:
            listener.on_record(record)
