"""Gives the spare rows of a model to new words, and takes those of stale ones back."""

import os
from collections.abc import Sequence
from typing import Any, Unpack

from keras_padsafe.surgery.carry_out import carry_out
from keras_padsafe.surgery.options import WritingOptions, takes_options
from keras_padsafe.surgery.report import Report


@takes_options
def refill(
    source: Any,
    target: str | os.PathLike[str] | None = None,
    *,
    tokens: Sequence[str | int] = (),
    evict: Sequence[str | int] = (),
    new_rows: Any = "mean",
    **options: Unpack[WritingOptions],
) -> Report:
    """Lets new words in and stale ones go, without a change of any shape.

    New words take the spare rows that `grow(capacity=...)` made, and the rows of those
    that are evicted; what is left is spare. Which word has which row stands in the
    lookup layer, where a spare row goes by a word such as `[spare 12]`. Rows, columns
    and biases of a head, and slots of the optimizer are made anew for new words and
    for spare rows; all others stay what they are, bit for bit. An evicted word is
    unknown from then on, and gets a new row when it comes back.

    In a head, a spare row has a column of zeros and a bias of -32768, so that a softmax
    gives it exactly nothing, in float16, bfloat16 and float32, and training leaves it
    alone. Weight decay moves the bias towards zero, by a factor of `1 - rate * decay` a
    step: at the rates of Keras it takes AdamW a million steps to a hundredth of that.
    Every refill makes it anew. Smoothed labels give probability to every id, spare
    ones too, and must not be used with a head that has spare rows. Scores that you
    compute outside of the model, as of an item table with every user, know nothing of
    this: leave out `Vocabulary.spare_ids`.

    A lookup layer that the input pipeline uses may be an attribute of the class that
    holds its table. With JAX, set its `supports_jit` to `True`: else Keras compiles no
    step of a model that holds one.

    A live model is changed in place, unlike by the other surgeries: nothing is traced
    or compiled again, and training goes on. Lookup layers of the model give the new
    ids at once, within compiled functions and `tf.data` pipelines too.

    Args:
        source: A `.keras` file or its unzipped folder; or a live Keras model, which is
            changed in place and comes back as `Report.model`.
        target: The `.keras` file to write; none for a live model.
        tokens: New words, one row each.
        evict: Words that go; or ids, where words are text.
        new_rows: How the rows of new words are made, as in `grow`; spare rows take no
            part in means.
        **options: `vocabulary`, `also`, `leave`, `ask`, `optimizer`, `overwrite`,
            `proof` and `progress`; see `WritingOptions`.

    Returns:
        A `Report`; `Report.tokens` holds the ids of the new words.

    Raises:
        AmbiguousVocabularyError: if something has to be settled by you first; the
            message lists the candidates and the flags.
        NotProvedError: if the new file is not proved; its certificate says why.
        SurgeryError: if what you ask for cannot be done, as too many words.
        ArchiveError: if a file cannot be read or written. In every case nothing was
            written, and a live model is as it was.

    Example:

    >>> import keras, keras_padsafe as kp
    >>> lookup = keras.layers.StringLookup(vocabulary=["ant", "bee"])
    >>> model = keras.Sequential(
    ...     [keras.Input((4,), dtype="string"), lookup, keras.layers.Embedding(3, 8)]
    ... )
    >>> model = kp.surgery.grow(model, capacity=2).model
    >>> kp.surgery.refill(model, tokens=["cat"], evict=["ant"]).tokens
    {'cat': 1}
    >>> [str(word) for word in model.layers[0].get_vocabulary()]
    ['[UNK]', 'cat', 'bee', '[spare 3]', '[spare 4]']
    """
    return carry_out(
        source,
        target,
        options,
        in_place=True,
        tokens=tokens,
        evict=evict,
        new_rows=new_rows,
    )
