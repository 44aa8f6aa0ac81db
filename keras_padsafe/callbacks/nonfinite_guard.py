"""The callback that keeps the last good weights."""

import sys
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import keras

from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.callbacks.guarded_training import BadStep, GuardedTraining
from keras_padsafe.errors import GuardError, NonFiniteError

Policy = Literal["stop", "skip", "raise"]

_DONE = {
    "stop": "Training stops.",
    "skip": "The batch is skipped.",
    "raise": "Training ends here.",
}
_SHOWN, _NAMED = 3, 3


class GuardedBatch(NamedTuple):
    """A batch whose step was undone.

    Attributes:
        epoch: The epoch, counted from 0.
        batch: The batch in that epoch, counted from 0.
        report: What `find_nonfinite` found in it; `None` if it was not replayed.
    """

    epoch: int
    batch: int
    report: AuditReport | None


class NonFiniteGuard(keras.callbacks.Callback):
    """Undoes the step of `fit` that would fill the weights with NaN, and says why.

    A step is bad if its loss is not finite, or if it would make a weight, a
    statistic or a slot of an optimizer infinite or NaN. Then weights, slots,
    metrics and seeds of Keras go back, bit for bit, to what they were before that
    step. The batch is replayed through `find_nonfinite`, and you are told what
    happened, where, and in which rows.

    Only `fit` is guarded: callbacks do not run in `train_on_batch`. The other
    callbacks see the logs of the last good step in place of those of a bad one. A
    loss scale that meets an infinite gradient and skips it is no bad step.

    The check and the copy run inside the compiled step, on PyTorch around it: one
    pass over the variables and the slots, and memory for a second copy of them. On a
    CPU a step takes up to 1.1 times as long, 1.3 times with dense layers of 4 million
    weights on PyTorch (`tests/benchmarks/bench_guard.py`). The guard compiles the step
    anew in each `fit`, except on PyTorch, and waits for each step to end.

    Args:
        policy: What to do after a bad step. `"stop"` ends the training as
            `EarlyStopping` does, `"skip"` goes on with the next batch, `"raise"`
            raises. The first messages are printed to `stderr`; `"skip"` counts the
            rest when training ends.

    Attributes:
        reports: The batches of the latest training whose steps were undone, each
            with `epoch`, `batch` (both from 0) and `report`. With `"skip"` only the
            first three are replayed; the `report` of the others is `None`.

    Raises:
        NonFiniteError: With `policy="raise"`, from `fit`; `error.report` is what
            was found.
        GuardError: From `fit`, if `steps_per_execution` is above 1, or the training
            is spread over replicas or processes.

    Example:
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> x[5] = np.nan
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> guard = keras_padsafe.callbacks.NonFiniteGuard(policy="skip")
    >>> history = model.fit(
    ...     x, y, batch_size=2, shuffle=False, verbose=0, callbacks=[guard]
    ... )
    >>> [(bad.epoch, bad.batch) for bad in guard.reports]
    [(0, 2)]
    >>> bool(np.isfinite(model.layers[0].get_weights()[0]).all())
    True
    """

    def __init__(self, policy: Policy = "stop") -> None:
        super().__init__()
        if policy not in get_args(Policy):
            raise GuardError(
                f"policy: expected 'stop', 'skip' or 'raise'; received {policy!r}."
            )
        self.policy = policy
        self.reports: list[GuardedBatch] = []
        self._training: GuardedTraining | None = None
        self._epoch = 0
        self._last_good = ""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.reports = []
        self._last_good = ""
        self._training = GuardedTraining(self.model)
        if self._training.state.lost:
            _say(f"NonFiniteGuard: {_lost_before(self._training.state.lost)}")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        if self._training is not None:
            self._training.begin_epoch()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        training = self._training
        if training is None:
            return
        # As the progress bar counts them.
        step = f"epoch {self._epoch + 1}, step {batch + 1}"
        if training.bad is None:
            self._last_good = step
            return
        if len(self.reports) >= _SHOWN:
            self.reports.append(GuardedBatch(self._epoch, batch, None))
            return
        report, found = self._replay(training.bad)
        self.reports.append(GuardedBatch(self._epoch, batch, report))
        message = self._message(step, training.bad, training.state.lost, found)
        if self.policy == "raise":
            training.remove()
            raise NonFiniteError(message, report)
        _say(message)
        if self.policy == "stop":
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._training is not None:
            self._training.remove()
            self._training = None
        if len(self.reports) > _SHOWN:
            _say(f"NonFiniteGuard: {len(self.reports)} steps were undone in total.")

    def _message(self, step: str, bad: BadStep, lost: list[str], found: str) -> str:
        what = f"the update would have made {_listed(bad.names)} infinite or NaN"
        if bad.loss_is_finite:
            what = f"the loss is finite, but {what}"
        else:
            what = "the loss is not finite" + (f", and {what}" if bad.names else "")
        back = f"those of {self._last_good}" if self._last_good else "as they began"
        parts = [
            f"NonFiniteGuard: {step}: {what}.",
            f"The weights are {back}. {_DONE[self.policy]}",
            found,
        ]
        return "\n".join([*parts, *([_lost_before(lost)] if lost else [])])

    def _replay(self, bad: BadStep) -> tuple[AuditReport | None, str]:
        """What was found in a batch, and in words, or why that cannot be known."""
        from keras_padsafe.audit.find_nonfinite import find_nonfinite

        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(bad.data)
        try:
            report = find_nonfinite(
                self.model, x, y, sample_weight=sample_weight, training=True
            )
        # A model with a training step of its own need not be one that can be called
        # on a batch. The weights are safe; what is said of the batch is not worth
        # the training.
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            return None, f"The batch could not be run again: {said}"
        return report, _what_was_found(report, bad.loss_is_finite)


def _say(message: str) -> None:
    """Prints, as the callbacks of Keras do: a warning could be made an error."""
    print(message, file=sys.stderr)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _lost_before(names: list[str]) -> str:
    were = "were" if len(names) > 1 else "was"
    return (
        f"{_listed(names)} {were} not finite when training began, so there is no "
        "good value to go back to. Load earlier weights."
    )


def _what_was_found(report: AuditReport, loss_is_finite: bool) -> str:
    if len(report):
        return "\n".join(["In this batch:", *(f"  {finding}" for finding in report)])
    if report.not_looked_at:
        return f"Not looked at: {'; '.join(report.not_looked_at)}."
    if loss_is_finite:
        return (
            "Run again eagerly, every value and gradient of this batch is finite. So "
            "the update itself overflowed (use a smaller learning rate or "
            "`clipnorm`), or only the compiled program overflows."
        )
    return (
        "Run again eagerly, every value of this batch is finite, so only the "
        "compiled program overflows. Compile with `jit_compile=False` to compare."
    )
