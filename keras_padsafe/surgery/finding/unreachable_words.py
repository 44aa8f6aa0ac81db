"""Words that a TextVectorization or WordPiece learns and can never make of any text."""

from collections.abc import Iterable

from keras_padsafe.surgery.finding.sites import WordsSite


def unreachable_words_note(words: Iterable[str | int], site: WordsSite) -> str | None:
    """What a user should know of new words whose ids the layer will never give."""
    rule = site.text_rule
    if rule is None:
        return None
    reasons = {
        word: reason
        for word in words
        if isinstance(word, str) and (reason := rule.why_lost(word))
    }
    if not reasons:
        return None
    listed = "; ".join(f"{word!r} {why}" for word, why in list(reasons.items())[:3])
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return (
        f"{site.class_name} {site.layer!r} will never give the ids of {len(reasons)} "
        f"of the new words: {listed}{more}. Add them in the form that the layer makes."
    )
