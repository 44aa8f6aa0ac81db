"""Words that a TextVectorization or WordPiece learns and can never make of any text."""

import string
from collections.abc import Iterable

from keras_padsafe.surgery.finding.sites import PieceRule, TextRule, WordsSite

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# TensorFlow lowers the letters of ASCII only, and so leaves others as they are.
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def unreachable_words_note(words: Iterable[str | int], site: WordsSite) -> str | None:
    """What a user should know of new words whose ids the layer will never give."""
    rule = site.text_rule
    if rule is None:
        return None
    reasons = {
        word: reason
        for word in words
        if isinstance(word, str) and (reason := _why_unreachable(word, rule))
    }
    if not reasons:
        return None
    listed = "; ".join(f"{word!r} {why}" for word, why in list(reasons.items())[:3])
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return (
        f"{site.class_name} {site.layer!r} will never give the ids of {len(reasons)} "
        f"of the new words: {listed}{more}. Add them in the form that the layer makes."
    )


def _why_unreachable(word: str, rule: TextRule | PieceRule) -> str | None:
    if isinstance(rule, PieceRule):
        return rule.why_lost(word)
    made, standardize = word, rule.standardize or ""
    if "lower" in standardize:
        made = made.translate(_LOWER)
    if "strip_punctuation" in standardize:
        made = made.translate(_NO_PUNCTUATION)
    if made != word:
        return f"becomes {made!r} by standardize={standardize!r}"
    if rule.has_ngrams:
        return None
    if rule.split == "whitespace" and any(sign in string.whitespace for sign in word):
        return "is cut in two by split='whitespace'"
    if rule.split == "character" and len(word) > 1:
        return "is cut into letters by split='character'"
    return None
