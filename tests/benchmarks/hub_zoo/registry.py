"""Zoo of small keras_hub architectures, each with a vocabulary of size `v`.

MODELS: name -> build(v=<default>) -> compiled model with a built optimizer.
Call `build()` for the default size and `build(v + 7)` for the independently
grown twin.  DEFAULT_V[name] is the default, NOTES[name] a remark (may lack).

Every dimension other than the vocabulary is a constant of the builder: where a
model's name ends in `_eq`, some constant equals the *default* vocabulary size
on purpose and must NOT move with v.
"""

import functools

import keras
import keras_hub

H = keras_hub.models
L = keras_hub.layers

MODELS = {}
DEFAULT_V = {}
NOTES = {}
# Builders whose saved file Keras itself cannot load back (see SKIPPED.md).
SKIPPED = {}
SKIP_REASONS = {}


def _finish(model):
    """Default compile for tasks, adam/mse for the rest; optimizer built."""
    if getattr(model, "optimizer", None) is None:
        model.compile("adam", "mse")
    if not isinstance(model.optimizer, keras.optimizers.Adam):
        model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.optimizer.build(model.trainable_variables)
    return model


def reg(name, v=50, note=None, skip=None):
    """Register a builder; `skip` is why Keras itself cannot load its file."""

    def deco(fn):
        @functools.wraps(fn)
        def build(v=v):
            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(1234)
            return _finish(fn(v))

        assert name not in {*MODELS, *SKIPPED}, name
        (SKIPPED if skip else MODELS)[name] = build
        if skip:
            SKIP_REASONS[name] = skip
        DEFAULT_V[name] = v
        if note:
            NOTES[name] = note
        return fn

    return deco


def family(prefix, backbone, v=50, note=None, **tasks):
    """Register `<prefix>_backbone` and `<prefix>_<task>` for each task."""
    reg(f"{prefix}_backbone", v, note)(backbone)
    for task, make in tasks.items():
        reg(f"{prefix}_{task}", v, note)(lambda n, make=make: make(backbone(n)))


def lm(cls, **kw):
    return lambda b: cls(backbone=b, preprocessor=None, **kw)


def clf(cls, n=3, **kw):
    return lambda b: cls(backbone=b, preprocessor=None, num_classes=n, **kw)
