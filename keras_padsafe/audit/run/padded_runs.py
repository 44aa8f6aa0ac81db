"""A padded batch, run as it is and with one thing changed: what each tensor does."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product

import numpy as np

from keras_padsafe.audit.run.float_noise import (
    MULTIPLE,
    SEEDS,
    round_again,
    rounding_error,
    typical_size,
)
from keras_padsafe.audit.run.leaks import (
    below_zero,
    calm,
    first_mover,
    has_moved,
    hold_still,
    real_in,
    stir,
    unsettle,
)
from keras_padsafe.audit.run.model_runs import ModelRuns, outputs_of
from keras_padsafe.audit.run.movements import Compare, Movements, movements
from keras_padsafe.audit.run.padded_batch import Change, PaddedBatch
from keras_padsafe.audit.run.poison import Kind, find_taps, poisoned, put_in
from keras_padsafe.audit.run.record_calls import Alter, CallRecord, Key, Record, Value
from keras_padsafe.audit.run.time_axes import Axes, Axis, ReadAxes

LIMIT = 8
"""How many leaks are looked for one after the other."""


class PaddedRuns:
    """The engine of the audits of padding and of masks.

    Attributes:
        runs: The model.
        record: The calls of the batch itself.
        batch: The batch.
        added: How much more padding the model takes; zeros if it takes none.
        longer: Its calls then.
        refused: What it said if it refused.
        axes: How each tensor is read.
        taps: Where padded content enters.
    """

    def __init__(self, runs: ModelRuns, record: Record, batch: PaddedBatch) -> None:
        self.runs, self.record, self.batch = runs, record, batch
        self.added, self.longer, self.refused = self._run_longer()
        read = ReadAxes(
            runs.inputs, batch.timelines, batch.filled, self.added, self.longer
        )
        read.read(record)
        self.axes = read.of
        self.taps = find_taps(record, batch, self.axes)
        self._place_values(read)

    @property
    def outputs(self) -> list[Value]:
        """The answers of the model: what holds floats, if anything does."""
        outputs = outputs_of(self.record).outputs
        return [value for value in outputs if value.is_float] or outputs

    @cached_property
    def noise(self) -> dict[Value, float]:
        """How far rounding, and random numbers if there are any, move each tensor."""
        unchanged = self.batch.unchanged()
        noise: dict[Value, float] = {}
        for seed in range(1, SEEDS + 1):
            alter = round_again(self.record, seed)
            again = self.runs.record(unchanged.inputs, alter, reseeded=seed)
            found = movements(self.record, again, unchanged, self.axes)
            for key, movement in found.items():
                call = self.record[key]
                values = call.inputs + call.outputs
                moved = movement.inputs + movement.outputs
                for value, move in zip(values, moved, strict=True):
                    size = move.size if move is not None else 0.0
                    noise[value] = max(noise.get(value, 0.0), size)
        return noise

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

    def with_content(self, kind: Kind, *alters: Alter) -> tuple[Change, Record]:
        """A run with other content behind the padding, and perhaps more changed."""
        change = self.batch.unchanged()
        values = list(change.inputs)
        random = np.random.default_rng(1)
        for i, padding in self.features.items():
            array = values[i]
            values[i] = poisoned(array, padding, kind, str(array.dtype), random)
        put = put_in(self.record, self.taps, kind)
        return change, self.runs.record(values, put, *alters)

    def compared(self, change: Change, after: Record) -> Movements:
        """How far each call moved."""
        return movements(self.record, after, change, self.axes)

    def leaks(self, kind: Kind, settle: bool = False) -> list[tuple[Key, Movements]]:
        """The calls through which other content behind the padding reaches an answer.

        Each is found while those before it are held still. Where there are several,
        each has to change an answer while the others see the padding of before.

        Args:
            kind: Which content.
            settle: Whether a call that only carries padding to places that cannot be
                read from shapes is passed over.

        Returns:
            The calls, in the order in which they end, and the movements that show each.
        """
        found: dict[Key, Movements] = {}
        settled: set[Key] = set()
        while len(found) < LIMIT:
            held = hold_still(self.record, self.axes, list(found))
            moved = self.compared(*self.with_content(kind, held))
            key = first_mover(self.record, moved, self.noise)
            if key is None or key in found or not self.answer_moved(moved):
                break
            if settle and key not in settled and self._settle(key, kind):
                settled.add(key)
                continue
            found[key] = moved
        if len(found) < 2:
            return list(found.items())
        confirmed = [key for key in found if self._leaks_alone(key, kind, list(found))]
        return [(key, found[key]) for key in confirmed or found]

    def answer_moved(self, found: Movements) -> bool:
        """Whether an answer moved by more than rounding."""
        root = outputs_of(self.record)
        return root.key in found and has_moved(
            root.outputs, found[root.key].outputs, self.noise
        )

    def pools(self, key: Key) -> bool:
        """Whether a call takes a sequence of floats, and gives nothing with time."""
        call = self.record[key]
        timed = any(v.is_float and self.axes[v].time for v in call.inputs)
        return timed and not any(self.axes[v].time for v in call.outputs)

    def leaks_by_chance_hidden(self) -> list[Key]:
        """The poolings that see padding which a layer before them has set to zero.

        A maximum shows that only where all real numbers are below zero: so each gets
        minus the size of what it is given, once as it is and once with more padding.
        """
        keys = [k for k, call in self.record.items() if call.parent and self.pools(k)]
        if not keys or not any(self.added) or self.refused:
            return []
        longer = self.batch.with_more_padding(self.added)
        below = below_zero({key: self._largest_real(key) for key in keys})
        before = self.runs.record(self.batch.unchanged().inputs, below)
        after = self.runs.record(longer.inputs, below)
        compare = Compare(longer, self.axes)

        def moved(key: Key, which: str) -> bool:
            values = getattr(self.record[key], which)
            if key not in before or key not in after:
                return False
            pairs = zip(
                values,
                getattr(before[key], which),
                getattr(after[key], which),
                strict=False,
            )
            moves = [compare.as_read(b, a, self.axes[v]) for v, b, a in pairs]
            return has_moved(values[: len(moves)], moves, self.noise)

        root = outputs_of(self.record).key
        found = [k for k in keys if moved(k, "outputs") and not moved(k, "inputs")]
        return found if moved(root, "outputs") else []

    def _largest_real(self, key: Key) -> float:
        """The size of the largest real number that a call is given."""
        given = [value for value in self.record[key].inputs if value.is_float]
        sizes = [np.abs(v.array[real_in(v, self.axes)]) for v in given]
        return max((float(np.nanmax(s)) for s in sizes if s.size), default=0.0)

    def _leaks_alone(self, key: Key, kind: Kind, keys: Sequence[Key]) -> bool:
        others = [k for k in keys if k != key and not self.record[k].has_children]
        calmed = calm(self.record, self.axes, others)
        noisy = unsettle(self.record, self.axes, others, kind)
        run = self.with_content(kind, noisy, calmed)
        return self.answer_moved(self.compared(*run))

    def _settle(self, key: Key, kind: Kind) -> bool:
        """Finds what is padding in what a call puts out, where shapes do not say.

        Returns:
            Whether anything was found.
        """
        call = self.record[key]
        given = [v for v in call.inputs if v.is_float]
        given = [v for v in given if self.axes[v].padded is not None]
        outputs = [v for v in call.outputs if v.is_float and v.array.ndim > 1]
        if not given or not outputs:
            return False
        return self._settle_joined(call, outputs, given, kind) or self._settle_unread(
            call, outputs
        )

    def _settle_joined(
        self, call: CallRecord, outputs: list[Value], given: list[Value], kind: Kind
    ) -> bool:
        """A sum of two sequences is padding where either of them is."""
        change, after = self.with_content(kind)
        for value in outputs:
            axes = self.axes[value]
            real = axes.real
            for other in given:
                padded = self.axes[other].padded
                if padded is not None and padded.shape == axes.shape[: padded.ndim]:
                    real = real & ~deepened(padded, len(axes.axes))
            n = call.outputs.index(value)
            joined = replace(axes, real=real)
            move = Compare(change, self.axes).as_read(
                value, after[call.key].outputs[n], joined
            )
            limit = MULTIPLE * self.noise.get(value, 0.0)
            if (real.sum() < axes.real.sum() or real.shape != axes.real.shape) and (
                move is not None and move.size <= limit and real.any()
            ):
                self.axes[value] = joined
                return True
        return False

    def _settle_unread(self, call: CallRecord, outputs: list[Value]) -> bool:
        """Padding is what follows padding in the inputs, and not what is real there."""
        unread = [v for v in outputs if not (self.axes[v].sure or self.axes[v].time)]
        if not unread:
            return False
        values = self.batch.unchanged().inputs
        runs = []
        for real, seed in ((False, 0), (True, 1), (True, 2)):
            given = stir(self.record, self.axes, call.key, real, seed)
            runs.append(self.runs.record(values, given))
        found = False
        for value in unread:
            n = call.outputs.index(value)
            by_padding, *by_real = (
                _differs(value, run[call.key].outputs[n]) for run in runs
            )
            alone = padding_alone(by_padding, np.logical_or(*by_real))
            if alone.any():
                found = True
                real = self.axes[value].real & ~deepened(alone, value.array.ndim)
                self.axes[value] = replace(self.axes[value], real=real)
        return found

    def _run_longer(self) -> tuple[list[int], Record, str | None]:
        lines = self.batch.timelines
        longest = max(line.length for line in lines)
        # Growing by different lengths tells the axes of two sequences apart.
        tries = [
            [count + n for n in range(len(lines))]
            for count in (max(4, longest // 2), 1)
        ]
        if len(lines) > 1:
            tries += [[1] * len(lines)]
            alone = np.eye(len(lines), dtype=int) * max(4, longest // 2)
            tries += alone.tolist()
        best: tuple[list[int], Record, str | None] = ([0] * len(lines), {}, None)
        for counts in tries:
            added = [
                count if line.members and line.padding.any() else 0
                for count, line in zip(counts, lines, strict=True)
            ]
            if not any(added):
                continue
            change = self.batch.with_more_padding(added)
            record, error = self.runs.record_until_error(change.inputs)
            if error is None and _has_new_nan(self.record, record):
                error = f"its answer is NaN with {max(added)} more positions"
            if error is None:
                return added, record, None
            if best[2] is None or len(record) > len(best[1]):
                best = (added, record, error)
        return best

    def _place_values(self, read: ReadAxes) -> None:
        """Finds which tensors run backwards in time, or begin elsewhere in it.

        A tensor that moves at real positions as it is read, and does not if it is read
        in another way, is read in that way.
        """
        tests = []
        if self.taps or self.features:
            tests.append(self.with_content("random"))
        if any(self.added):
            longer = self.batch.with_more_padding(self.added)
            tests.append((longer, self.longer))
        seen: dict[Value, list[tuple[Change, Value]]] = {}
        for key, call in self.record.items():
            for n, value in enumerate(call.inputs + call.outputs):
                others = [
                    (change, record[key].inputs + record[key].outputs)
                    for change, record in tests
                    if key in record
                ]
                if value not in seen:
                    seen[value] = [(c, v[n]) for c, v in others if n < len(v)]
        for value, pairs in seen.items():
            axes = self.axes[value]
            if axes.time and value.is_float and pairs:
                self.axes[value] = self._placed(value, axes, pairs, read)

    def _placed(
        self,
        value: Value,
        axes: Axes,
        pairs: Sequence[tuple[Change, Value]],
        read: ReadAxes,
    ) -> Axes:
        if self._is_still(value, pairs, axes):
            return axes
        for other in _other_readings(axes, self.batch):
            placed = read.placed(value, other, axes.sure)
            if self._is_still(value, pairs, placed) and _tells(value, axes, placed):
                return placed
        return axes

    def _is_still(
        self, value: Value, pairs: Sequence[tuple[Change, Value]], axes: Axes
    ) -> bool:
        limit = MULTIPLE * rounding_error(value.dtype) * typical_size(value.array)
        for change, other in pairs:
            move = Compare(change, self.axes).as_read(value, other, axes)
            if move is None or move.size > 8 * limit:
                return False
        return True


def padding_alone(by_padding: np.ndarray, by_real: np.ndarray) -> np.ndarray:
    """Which elements follow padding and nothing else: flags on the first axes.

    Args:
        by_padding: What changed with the content at padded positions.
        by_real: What changed with the content at real ones.
    """
    alone = by_padding & ~by_real
    # A maximum may hide what else an element depends on: whole positions count, and
    # whole rows where there is no time. What mixes nothing has only moved.
    inner = tuple(range(2 if alone.ndim > 2 else 1, alone.ndim))
    position = np.asarray(by_padding.any(inner) & ~by_real.any(inner))
    mixes = (by_padding & by_real).any()
    if mixes or not (alone & ~deepened(position, alone.ndim)).any():
        return position
    return alone


def _differs(before: Value, after: Value) -> np.ndarray:
    if before.array.shape != after.array.shape:
        return np.ones(before.array.shape, bool)
    limit = MULTIPLE * rounding_error(before.dtype) * typical_size(before.array)
    with np.errstate(invalid="ignore"):
        apart = np.abs(before.array.astype("float64") - after.array)
    return ~(apart <= limit)


def deepened(flags: np.ndarray, rank: int) -> np.ndarray:
    """Flags of the first axes, with an axis of one for each that is left."""
    return flags.reshape(flags.shape + (1,) * (rank - flags.ndim))


def _other_readings(axes: Axes, batch: PaddedBatch) -> list[tuple[Axis, ...]]:
    found = []
    for number, line in axes.time:
        axis, length = axes.axes[number], batch.timelines[line].length
        apart = length - axis.size
        starts = range(min(0, apart), max(0, apart) + 1)
        for backwards, start in product((False, True), sorted(starts, key=abs)):
            other = Axis(axis.size, line, start, backwards)
            if other != axis:
                found.append((*axes.axes[:number], other, *axes.axes[number + 1 :]))
    return found


def _tells(value: Value, before: Axes, after: Axes) -> bool:
    """Whether a tensor differs along time where both readings say that it is real."""
    array = value.array.reshape(after.shape)
    both = np.broadcast_to(before.real & after.real, array.shape)
    number = after.time[0][0]
    first = np.moveaxis(array, number, 0)[0]
    differs = array != np.expand_dims(first, number)
    return bool((differs & both).any())


def _has_new_nan(before: Record, after: Record) -> bool:
    """Whether the answer is NaN in one run and not in the other."""
    pair = [
        any(np.isnan(v.array).any() for v in outputs_of(record).outputs)
        for record in (before, after)
    ]
    return pair == [False, True]
