"""A padded batch, run as it is and with one thing changed: what each tensor does."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from keras_padsafe.audit.run.float_noise import (
    MULTIPLE,
    SEEDS,
    round_again,
    rounding_error,
    typical_size,
)
from keras_padsafe.audit.run.leaks import as_before, first_mover
from keras_padsafe.audit.run.model_runs import ModelRuns, Values, outputs_of
from keras_padsafe.audit.run.movements import Compare, Movements, pairs_of
from keras_padsafe.audit.run.padded_batch import Change, PaddedBatch
from keras_padsafe.audit.run.poison import Kind, find_taps, poisoned, put_in
from keras_padsafe.audit.run.record_calls import (
    CallRecord,
    Key,
    Record,
    RecordCalls,
    Value,
)
from keras_padsafe.audit.run.settle_padding import settle_padding
from keras_padsafe.audit.run.time_axes import Axes, Grown, ReadAxes, grown
from keras_padsafe.audit.run.watch import Observer

LIMIT = 8
"""How many leaks are looked for one after the other."""


class PaddedRuns:
    """The engine of the audits of padding and of masks.

    Attributes:
        record: The calls of the batch itself.
        added: How much more padding the model takes; zeros if it takes none.
        refused: What it said if it refused.
        axes: How each tensor is read.
        taps: Where padded content enters.
    """

    def __init__(self, runs: ModelRuns, record: Record, batch: PaddedBatch) -> None:
        self.runs, self.record, self.batch = runs, record, batch
        self.added, longer, self.refused = self._run_longer()
        read = ReadAxes(batch, self.added, longer)
        read.read(record)
        self.axes = read.of
        self.taps = find_taps(record, batch, self.axes)
        self._place_values(read)

    @property
    def longer(self) -> Change:
        """The batch with as much more padding as the model takes."""
        return self.batch.with_more_padding(self.added)

    @property
    def outputs(self) -> list[Value]:
        """The answers of the model: what holds floats, if anything does."""
        outputs = outputs_of(self.record).outputs
        return [value for value in outputs if value.is_float] or outputs

    @cached_property
    def noise(self) -> dict[Value, float]:
        """How far rounding, and random numbers if there are any, move each tensor."""
        noise = dict.fromkeys(self.axes, 0.0)
        for seed in range(1, SEEDS + 1):
            alter = round_again(self.record, seed)
            found = self.moved(self.batch.unchanged(), alter, reseeded=seed)
            for value, move in found.items():
                noise[value] = max(noise[value], move.size)
        return noise

    def real(self, value: Value) -> np.ndarray:
        """Where a tensor is real, in the shape of the tensor."""
        axes = self.axes[value]
        return np.broadcast_to(axes.real, axes.shape).reshape(value.array.shape)

    @property
    def features(self) -> dict[int, np.ndarray]:
        """The inputs of features whose padding a mask hides, with that padding."""
        return {
            i: line.padding
            for line in self.batch.timelines
            if line.held and line.padding.any()
            for i in line.members
            if i not in line.masks
            and self.batch.inputs[i].is_float
            and self.batch.inputs[i].values.shape[:2] == line.padding.shape
        }

    def behind(self, kind: Kind) -> tuple[Change, Observer]:
        """The batch with other content behind the padding, and what puts it there."""
        change = self.batch.unchanged()
        values = list(change.inputs)
        random = np.random.default_rng(1)
        for i, padding in self.features.items():
            array = values[i]
            values[i] = poisoned(array, padding, kind, str(array.dtype), random)
        padding = {tap.value: tap.padding for tap in self.taps}
        keys = [tap.call.key for tap in self.taps]
        put = put_in(self.record, padding, keys, kind, 0)
        return replace(change, inputs=tuple(values)), put

    def moved(self, change: Change, *alters: Observer, reseeded: int = 0) -> Movements:
        """Runs a changed batch: how far each tensor moved.

        Each call is compared when it ends, so that no second run is held.
        """
        compare = Compare(self.record, change, self.axes)
        self.runs.record(change.inputs, *alters, reseeded=reseeded, keep=compare.call)
        return compare.moved

    def again(
        self, key: Key, change: Change, *alters: Observer, variables: Values = ()
    ) -> list[Value]:
        """What one call gives in a changed run."""

        def keep(call: CallRecord) -> list[Value]:
            return call.outputs if call.key == key else []

        found = self.runs.record(change.inputs, *alters, keep=keep, variables=variables)
        return found[key]

    def leaks(self, kind: Kind, settle: bool = False) -> list[tuple[Key, Movements]]:
        """The calls through which other content behind the padding reaches an answer.

        Each is found while those before it are held still. Where there are several,
        each has to change an answer while the others see the padding of before.

        With `settle`, one that only carries padding to places that cannot be read from
        shapes is passed over. In the order in which they end, with what shows each.
        """
        found: dict[Key, Movements] = {}
        settled: set[Key] = set()
        while len(found) < LIMIT:
            held = as_before(self, list(found), real=True)
            moved = self.moved(*self.behind(kind), held)
            key = first_mover(self, moved)
            if key is None or key in found or not self.answer_moved(moved):
                break
            if settle and key not in settled and settle_padding(self, key, kind):
                settled.add(key)
                continue
            found[key] = moved
        if len(found) < 2:
            return list(found.items())
        confirmed = [key for key in found if self._leaks_alone(key, kind, list(found))]
        return [(key, found[key]) for key in confirmed or found]

    def has_moved(
        self, values: Sequence[Value], moved: Movements, multiple: float = MULTIPLE
    ) -> bool:
        """Whether any of some tensors moved by more than rounding."""
        known = [value for value in values if value in moved]
        return any(moved[v].size > multiple * self.noise[v] for v in known)

    def answer_moved(self, moved: Movements) -> bool:
        """Whether an answer moved by more than rounding."""
        return self.has_moved(outputs_of(self.record).outputs, moved)

    def pools(self, key: Key) -> bool:
        """Whether a call takes a sequence of floats, and gives nothing with time."""
        call = self.record[key]
        timed = any(v.is_float and self.axes[v].time for v in call.inputs)
        return timed and not any(self.axes[v].time for v in call.outputs)

    def _leaks_alone(self, key: Key, kind: Kind, keys: Sequence[Key]) -> bool:
        others = [k for k in keys if k != key and not self.record[k].has_children]
        calmed = as_before(self, others, real=False)
        outputs = {value for other in others for value in self.record[other].outputs}
        whole = [v for v in outputs if self.axes[v].shape == v.array.shape]
        found = {value: self.axes[value].padded for value in whole}
        padding = {value: flags for value, flags in found.items() if flags is not None}
        noisy = put_in(self.record, padding, others, kind, 2)
        return self.answer_moved(self.moved(*self.behind(kind), noisy, calmed))

    def _run_longer(self) -> tuple[list[int], dict[Key, Grown], str | None]:
        """How much longer each timeline was, the shapes then, and what was refused."""
        lines = self.batch.timelines
        many = max(4, max(line.length for line in lines) // 2)
        # Growing by different lengths tells the axes of two sequences apart.
        tries = [[count + n for n in range(len(lines))] for count in (many, 1)]
        if len(lines) > 1:
            alone = np.eye(len(lines), dtype=int) * many
            tries += [[1] * len(lines), *alone.tolist()]
        had_nan = grown(outputs_of(self.record)).has_nan
        padded = [bool(line.members) and line.padding.any() for line in lines]
        attempts: list[tuple[list[int], dict[Key, Grown], str | None]] = []
        for counts in tries:
            added = [n if grows else 0 for n, grows in zip(counts, padded, strict=True)]
            if not any(added):
                continue
            change = self.batch.with_more_padding(added)
            recorder = RecordCalls(keep=grown)
            error = self.runs.refusal(recorder, values=change.inputs)
            made = recorder.kept
            if error is None and outputs_of(made).has_nan and not had_nan:
                error = f"its output is NaN with {max(added)} more positions"
            if error is None:
                return added, made, None
            attempts.append((added, made, error))
        none = [0] * len(lines), {}, None
        return max(attempts, key=lambda attempt: len(attempt[1]), default=none)

    def _place_values(self, read: ReadAxes) -> None:
        """Finds which tensors run backwards in time, or begin elsewhere in it.

        A tensor that moves at real positions as it is read, and does not if it is read
        in another way, is read in that way.
        """
        content = [self.behind("random")] if self.taps or self.features else []
        more = [(self.longer,)] if any(self.added) else []
        left: dict[Value, list[Axes]] = {}
        for change, *alters in [*content, *more]:
            sieve = self._sieve(left, read, Compare(self.record, change, self.axes))
            self.runs.refusal(*alters, RecordCalls(sieve), values=change.inputs)
        for value, readings in left.items():
            axes = self.axes[value]
            if axes not in readings:
                others = (one for one in readings if _tells(value, axes, one))
                self.axes[value] = next(others, axes)

    def _sieve(
        self, left: dict[Value, list[Axes]], read: ReadAxes, compare: Compare
    ) -> Callable[[CallRecord], None]:
        """Leaves of the readings of each tensor those in which it has not moved."""
        seen: set[Value] = set()

        def keep(call: CallRecord) -> None:
            for value, other in pairs_of(self.record, call):
                axes = self.axes[value]
                if value in seen or not axes.time or not value.is_float:
                    continue
                seen.add(value)
                if value not in left:
                    left[value] = [axes, *read.others(value)]
                limit = 8 * MULTIPLE * rounding_error(value.dtype)
                limit *= typical_size(value.array)
                moves = [compare.as_read(value, other, one) for one in left[value]]
                pairs = zip(left[value], moves, strict=True)
                left[value] = [one for one, m in pairs if m and m.size <= limit]

        return keep


def _tells(value: Value, before: Axes, after: Axes) -> bool:
    """Whether a tensor differs along time where both readings say that it is real."""
    array = value.array.reshape(after.shape)
    both = np.broadcast_to(before.real & after.real, array.shape)
    number = after.time[0][0]
    first = np.moveaxis(array, number, 0)[0]
    differs = array != np.expand_dims(first, number)
    return bool((differs & both).any())
