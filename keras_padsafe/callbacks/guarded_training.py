"""A guard around the training step of a model, put there and taken away."""

from typing import Any, NamedTuple

import keras

from keras_padsafe.callbacks.guarded_function import FLAGS, Step, guarded_function
from keras_padsafe.callbacks.training_state import TrainingState
from keras_padsafe.errors import GuardError

_REPLACED = ("train_step", "train_function", "make_train_function")


class BadStep(NamedTuple):
    """A step that was undone, its batch, and the variables that would be lost."""

    data: Any
    loss_is_finite: bool
    names: tuple[str, ...]


class GuardedTraining:
    """Replaces the training function of a compiled model by one that undoes bad steps.

    Attributes:
        state: The variables of the model.
        bad: What was wrong in the latest step; `None` if nothing was.
    """

    def __init__(self, model: Any) -> None:
        _refuse_what_cannot_be_guarded(model)
        model.make_train_function()
        self.bad: BadStep | None = None
        self.state = TrainingState(model)
        self._model = model
        self._good_logs: dict[str, Any] = {}
        own = vars(model)
        self._own = {name: own[name] for name in _REPLACED if name in own}
        try:
            model.train_function = guarded_function(self, model)
        except BaseException:
            self.remove()
            raise
        # `fit` calls this when it begins. If that happens while we are here, then an
        # exception has ended the training before, and nobody has told us.
        model.make_train_function = self._begin_without_us

    def begin_epoch(self) -> None:
        """Forgets the logs of the epoch before."""
        self._good_logs = {}

    def remove(self) -> None:
        """Gives the model back its own functions, compiled as they were."""
        for name in _REPLACED:
            if name in self._own:
                setattr(self._model, name, self._own[name])
            elif name in vars(self._model):
                delattr(self._model, name)

    def run(self, function: Step, *given: Any) -> Any:
        """Calls a training function; an exception in it ends the training."""
        try:
            return function(*given)
        except BaseException:
            self.remove()
            raise

    def sift(self, logs: dict[str, Any], data: Any) -> dict[str, Any]:
        """The logs that `fit` and the other callbacks see, without the flags.

        After a step that was undone they are those of the last good step of this epoch.
        """
        if FLAGS not in logs:
            self.remove()
            raise GuardError(
                "NonFiniteGuard cannot watch this training: the function made by the "
                "model's `make_train_function` does not return what "
                "`self.train_step` returns. Let it call `self.train_step` and return "
                "its logs, or train without the guard."
            )
        flags = keras.ops.convert_to_numpy(logs[FLAGS])
        if flags.all():
            self.bad = None
            self._good_logs = {name: logs[name] for name in logs if name != FLAGS}
        else:
            watched = self.state.watched_of(self.state.variables)
            pairs = zip(watched, flags[1:], strict=True)
            names = tuple(variable.path for variable, finite in pairs if not finite)
            self.bad = BadStep(data, bool(flags[0]), names)
        return dict(self._good_logs)

    def _begin_without_us(self, force: bool = False) -> Any:
        self.remove()
        return self._model.make_train_function(force=force)


def _refuse_what_cannot_be_guarded(model: Any) -> None:
    """Raises where a bad step would pass unseen, or could not be undone."""
    owner = getattr(vars(model).get("make_train_function"), "__self__", None)
    if isinstance(owner, GuardedTraining):
        owner.remove()
        raise GuardError(
            "two `NonFiniteGuard` callbacks watch the same training. Keep one of them."
        )
    if model.steps_per_execution > 1:
        raise GuardError(
            "NonFiniteGuard needs every step, but Keras shows only the last one of "
            "each execution. Expected: `steps_per_execution=1`. Received: "
            f"{model.steps_per_execution}. Compile the model without it."
        )
    backend, devices, what = keras.backend.backend(), 1, "replica"
    if backend == "tensorflow":
        devices = model.distribute_strategy.num_replicas_in_sync
    elif backend == "jax":
        import jax

        devices, what = jax.process_count(), "process"
    if devices > 1:
        raise GuardError(
            f"NonFiniteGuard expects one {what}, received {devices}. Each would see "
            "only its own part of the batch. Train on one, or without the guard."
        )
    if backend == "jax" and keras.config.is_nnx_enabled():
        raise GuardError(
            "NonFiniteGuard cannot replace the training step of a model while Keras "
            "runs on NNX. Set KERAS_NNX_ENABLED=false, or train without the guard."
        )
