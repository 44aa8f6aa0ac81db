"""What a user should know before a change is carried out."""

import math

from keras_padsafe.facts.packages import MOST_WHOLE
from keras_padsafe.saved_model.config_path import config_key
from keras_padsafe.saved_model.word_lists import entries_at
from keras_padsafe.surgery.finding.sites import WordsSite
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.planning.changes import Change
from keras_padsafe.surgery.planning.new_rows import NewRows


def notes_on(vocabulary: Vocabulary, change: Change, rows: NewRows) -> list[str]:
    """What to know of a change, in sentences."""
    notes = list(vocabulary.notes)
    taken = change.row_map.new_ids[: len(change.words)]
    inside = taken[taken < vocabulary.size]
    if inside.size and not change.row_map.moves_ids:
        beyond = len(taken) - len(inside)
        rest = f" {beyond} more are added at the end." if beyond else ""
        notes.append(
            f"{inside.size} new words take spare rows of the table, from id "
            f"{inside[0]} on. These rows get new values.{rest}"
        )
    if change.spare_ids:
        notes.append(
            f"{len(change.spare_ids)} rows are spare: no word reaches them, and heads "
            "give them no probability."
        )
    if change.pad is not None:
        notes.append(
            f"Id {change.pad} is masked as far as the layers pass the mask on. Use "
            "`keras_padsafe.audit.check_padding` to see whether padding still "
            "changes an answer."
        )
    notes += [
        f"{config_key(site.path)} lists numbers, and each keeps its value where its id "
        "moves. If they are ids themselves, set them anew in Keras."
        for site in vocabulary.config
        if site.follows == "entries" and not change.row_map.is_append
        if any(type(one) is int for one in entries_at(site.value, [0]))
    ]
    kernels = [site for site in vocabulary.arrays if site.role == "encoding kernel"]
    if kernels and change.row_map.new_count:
        notes.append(
            f"{kernels[0].path} has a row for each id: new_rows={rows} also sets its "
            "rows for new ids. With 'mean', a new word weighs as much there as an "
            "average old word; with 'zeros', nothing."
        )
    beyond = max((site.end for site in vocabulary.words), default=None)
    if (
        beyond is not None
        and change.row_map.new_count
        and not (change.words or change.spare_ids)
    ):
        has_cap = any(site.follows == "cap" for site in vocabulary.config)
        capped = ", which raises their max_tokens too" if has_cap else ""
        notes.append(
            f"No word has the new ids: those of words end with {beyond - 1}. "
            f"For ids with words, grow by tokens=[...] (--add WORD){capped}."
        )
    if change.words and not vocabulary.words:
        notes.append(
            "The file holds no lookup layer for these ids: add the new words to your "
            "own word index, with these ids."
        )
    notes += [
        _never_given(site, lost)
        for site in vocabulary.words
        if (lost := _lost_words(site, change))
    ]
    for site in vocabulary.config:
        whole = len(site.value or site.default) if site.follows == "whole" else 0
        if whole and change.words and whole + len(change.words) > MOST_WHOLE:
            notes.append(
                "In a `tf.data` pipeline, as `fit` on text uses, KerasHub keeps at "
                f"most {MOST_WHOLE} tokens whole; there are "
                f"{whole + len(change.words)}. The tokenizer called by itself keeps "
                "all of them."
            )
    new = change.row_map.new_count - len(change.spare_ids)
    old = vocabulary.size - len(vocabulary.spare_ids)
    keeps_all = change.row_map.keeps_all
    is_linear = not any(site.reason.startswith("said") for site in vocabulary.arrays)
    if vocabulary.has_head and rows.kind == "mean" and new and keeps_all and is_linear:
        share, move = new / (old + new), math.log1p(new / old)
        notes.append(
            f"If a softmax runs over the ids, new ids take at most {share:.2%} of the "
            f"probability, and old log probabilities change by at most {move:.4f} "
            "nats."
        )
    if vocabulary.has_head and rows.kind in ("zeros", "constant"):
        notes.append(
            f"new_rows={rows}: in a softmax head, a logit unlike the old ones can "
            "take most of the probability. `verify` measures it; 'mean' limits it."
        )
    return notes


def _lost_words(site: WordsSite, change: Change) -> dict[str, str]:
    """The new words whose ids a layer never gives, and why."""
    if (rule := site.text_rule) is None:
        return {}
    words = [word for word in change.words if isinstance(word, str)]
    return {word: why for word in words if (why := rule.why_lost(word))}


def _never_given(site: WordsSite, lost: dict[str, str]) -> str:
    listed = "; ".join(f"{word!r} {why}" for word, why in list(lost.items())[:3])
    more = f"; and {len(lost) - 3} more" if len(lost) > 3 else ""
    return (
        f"{site.class_name} {site.layer!r} will never give the ids of {len(lost)} of "
        f"the new words: {listed}{more}. Add them in the form that the layer "
        "produces."
    )
