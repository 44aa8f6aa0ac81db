"""What lets padding into the answers of a model.

A call alone may read padding and do no harm: scores that a later mask hides. What
counts is whether the answers change, and which call they change through.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.masks.mask_lineage import TracedCall
from keras_padsafe.audit.masks.mask_recorder import MaskRecorder
from keras_padsafe.audit.masks.padded_elements import changed, spread
from keras_padsafe.audit.masks.poisoned_run import (
    Place,
    PoisonedRun,
    RealContentRun,
    differing,
)
from keras_padsafe.audit.run.run_model import run_model
from keras_padsafe.types import Tensor

_MOST_OPERATIONS = 16
_SIGNS = (1, -1)


@dataclass(frozen=True)
class PaddingReaders:
    """What lets padding into the answers of a model.

    Attributes:
        calls: The calls that do.
        operations: The calls that are given what an operation between calls has mixed
            padding into; the model itself if these are its answers.
        padding_in_answers: For each output, whether padded elements of it hold what
            stood at padded positions.
    """

    calls: tuple[TracedCall, ...]
    operations: tuple[TracedCall, ...]
    padding_in_answers: tuple[bool, ...]


def find_padding_readers(
    model: keras.layers.Layer, x: Any, recorder: MaskRecorder
) -> PaddingReaders:
    """Runs the model again, and once more for each call that may read padding."""
    return _Search(model, x, recorder.calls).result()


class _Search:
    def __init__(self, model: keras.layers.Layer, x: Any, calls: list[TracedCall]):
        self._model, self._x, self._calls = model, x, calls
        self._suspects = [call for call in calls if call.reads_padding]
        self._harmless = [call for call in calls if call.harmless]

    def result(self) -> PaddingReaders:
        runs = [
            self._run(PoisonedRun(self._calls, calmed=self._harmless, sign=sign))
            for sign in _SIGNS
        ]
        in_answers = tuple(
            seen.partly_padded
            and any(
                bool((changed(seen.tensor, t) & ~differing(seen, t)).any())
                for t in answers
            )
            for seen, *answers in zip(
                self._calls[0].outputs, *(run.answers for run in runs), strict=False
            )
        )
        if not any(
            flags.any()
            for run in runs
            for place, flags in run.differing.items()
            if place[0] == 0
        ):
            return PaddingReaders((), (), in_answers)
        by_content = self._run(RealContentRun(self._calls)).differing
        return PaddingReaders(
            tuple(self._calls_that_do(by_content)),
            tuple(self._operations_that_do(by_content)),
            in_answers,
        )

    def _run(self, poisoned: PoisonedRun) -> PoisonedRun:
        run_model(self._model, self._x, poisoned)
        return poisoned

    def _calls_that_do(self, by_content: dict[Place, np.ndarray]) -> list[TracedCall]:
        """Those through which the answers change when all others are calmed."""
        calm = {sign: self._answers(None, sign) for sign in _SIGNS}
        return [
            suspect
            for suspect in self._suspects
            if any(
                self._differ(calm[sign], self._answers(suspect, sign), by_content)
                for sign in _SIGNS
            )
        ]

    def _answers(self, open_one: TracedCall | None, sign: int) -> list[Tensor]:
        calmed = [call for call in self._suspects if call is not open_one]
        run = PoisonedRun(
            self._calls,
            suspects=self._suspects,
            calmed=[*calmed, *self._harmless],
            sign=sign,
        )
        return self._run(run).answers

    def _differ(
        self,
        calm: list[Tensor],
        answers: list[Tensor],
        by_content: dict[Place, np.ndarray],
    ) -> bool:
        outputs = self._calls[0].outputs
        for number, (seen, old, new) in enumerate(
            zip(outputs, calm, answers, strict=False)
        ):
            flags = changed(old, new) & by_content.get((0, number), np.True_)
            if seen.padded is not None:
                flags = flags & ~spread(seen.padded, flags.shape)
            if flags.any():
                return True
        return False

    def _operations_that_do(
        self, by_content: dict[Place, np.ndarray]
    ) -> list[TracedCall]:
        """Where tensors change that no call made, all that read padding calmed."""
        settled: list[Place] = []
        found: list[TracedCall] = []
        while len(found) < _MOST_OPERATIONS:
            run = PoisonedRun(
                self._calls,
                suspects=self._suspects,
                calmed=[*self._suspects, *self._harmless],
                settled=settled,
                wiped=False,  # What a layer has wiped is what an operation gets.
            )
            changes = {
                place: flags & by_content.get(place, np.True_)
                for place, flags in self._run(run).differing.items()
            }
            places = [place for place, flags in changes.items() if flags.any()]
            if not any(place[0] == 0 for place in places):
                break
            place = next((p for p in places if p not in settled), places[0])
            call = self._calls[place[0]]
            if call not in found:
                found.append(call)
            if place[0] == 0 or place in settled:
                break
            settled.append(place)
        return found
