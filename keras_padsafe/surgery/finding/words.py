"""Reads and rewrites the words of lookup layers and tokenizers."""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace

from keras_padsafe.archive import Archive
from keras_padsafe.arguments import spells_integer
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.facts.spare_words import is_spare
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.surgery.finding.sites import ConfigSite, WordsSite, site_in
from keras_padsafe.surgery.finding.text_rules import TextRule

# `str.splitlines`, with which Keras reads the file back, breaks a line at each.
_LINE_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def lookup_words(
    layer: LayerNode, archive: Archive, reason: str
) -> tuple[WordsSite, list[ConfigSite]] | None:
    """The words of a StringLookup, IntegerLookup or TextVectorization.

    Returns:
        The words, and the configuration keys that count them; `None` if the file
        holds no words for the layer (it was never adapted).
    """
    config = layer.config
    listed = config.get("vocabulary")
    if isinstance(listed, list):
        words, specials = tuple(listed), _special_words(layer)
        leading = words[: len(specials)] == specials
        place = (*layer.path, "config", "vocabulary")
        first = 0 if leading else len(specials)
        site = words_site(layer, place, first, words, reason)
        weights = config.get("idf_weights")
        if isinstance(weights, list) and len(weights) == len(words):
            place = (*layer.path, "config", "idf_weights")
            mean = float(sum(weights) / len(weights)) if weights else 0.0
            site = replace(site, weights_path=place, weight=mean)
    else:
        assets = _assets(layer, archive)
        if not assets:
            return None
        words = _read_lines(archive.assets[assets[0]].read(), layer)
        site = words_site(layer, None, 0, words, reason, assets)
    return site, _counts(layer)


def words_site(
    layer: LayerNode,
    place: ConfigPath | None,
    first_id: int,
    words: tuple[str | int, ...],
    reason: str,
    assets: tuple[str, ...] = (),
) -> WordsSite:
    """The site of words that config.json or assets of the archive list."""
    config, specials = layer.config, _special_words(layer)
    reserved = {*specials, config.get("oov_token"), config.get("mask_token")}
    unknown = config.get("num_oov_indices", 1)
    return WordsSite(
        layer.name,
        place,
        assets,
        first_id,
        reason,
        class_name=layer.class_name,
        words=words,
        specials=specials,
        reserved=frozenset(reserved - {None}),
        text_rule=_text_rule(layer),
        unknown_id=len(specials) - unknown if specials and unknown else None,
    )


def _text_rule(layer: LayerNode) -> TextRule | None:
    """How the layer turns text into words; `None` if it takes words as they are."""
    if layer.kind != "TextVectorization":
        return None
    standardize, split = layer.config.get("standardize"), layer.config.get("split")
    ngrams = layer.config.get("ngrams")
    if not all(rule is None or isinstance(rule, str) for rule in (standardize, split)):
        return None
    return TextRule(standardize, split, ngrams is not None)


def _special_words(layer: LayerNode) -> tuple[str | int, ...]:
    """The words before the first real one: padding, then the unknown-word ids."""
    config = layer.config
    if layer.kind not in LOOKUPS:
        return ()
    is_int = config.get("output_mode", "int") == "int"
    if layer.kind == "TextVectorization":
        return ("", "[UNK]") if is_int else ("[UNK]",)
    mask = config.get("mask_token")
    padding = [mask] if mask is not None and is_int else []
    return (*padding, *[config.get("oov_token")] * config.get("num_oov_indices", 1))


def _assets(layer: LayerNode, archive: Archive) -> tuple[str, ...]:
    """The copies of the word file; TextVectorization writes two."""
    base = f"assets/{layer.weights_path}/" if layer.weights_path else "assets/"
    names = (f"{base}vocabulary.txt", f"{base}_lookup_layer/vocabulary.txt")
    return tuple(name for name in names if name in archive.assets)


def _read_lines(text: bytes, layer: LayerNode) -> tuple[str | int, ...]:
    lines = _decoded(text, layer).splitlines()
    while lines and lines[-1] == "":
        lines.pop()
    if layer.kind != "IntegerLookup":
        return tuple(lines)
    wrong = next((line for line in lines if not spells_integer(line)), None)
    if wrong is not None:
        raise SurgeryError(
            f"Layer {layer.name!r}: its word file holds {shortly(wrong)}. Expected: "
            "one integer a line, as Keras writes it. Save the model again with Keras."
        )
    return tuple(int(line) for line in lines)


def _decoded(text: bytes, layer: LayerNode) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SurgeryError(
            f"Layer {layer.name!r}: its word file is not UTF-8 ({error.reason} at byte "
            f"{error.start}). Expected: one word a line, as Keras writes it."
        ) from None


def _counts(layer: LayerNode) -> list[ConfigSite]:
    config = layer.config
    reason = f"{layer.title}: counts its words"
    sites: list[ConfigSite] = []
    if "mask_token" in config:
        why = "mask_token says which word is padding"
        sites.append(site_in(layer, "mask_token", "mask_token", why))
    more = {"lookup": layer.name}
    if isinstance(config.get("vocabulary_size"), int):
        sites.append(site_in(layer, "vocabulary_size", "tokens", reason, **more))
    if isinstance(config.get("max_tokens"), int):
        sites.append(site_in(layer, "max_tokens", "cap", reason, **more))
    return sites


def split_pieces(word: str, known: Container[str | int]) -> list[str]:
    """The pieces of a word, as WordPiece cuts it: the longest known one each time.

    Returns:
        The pieces, those after the first with `##` before them; none if it cannot be
        cut.

    References:
        - Wu et al., "Google's Neural Machine Translation System", 2016, section 4.1.
    """
    pieces: list[str] = []
    start = 0
    while start < len(word):
        sign = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((e for e in ends if sign + word[start:e] in known), None)
        if end is None:
            return []
        pieces.append(sign + word[start:end])
        start = end
    return pieces


def check_new_words(tokens: Sequence[str | int], site: WordsSite | None) -> None:
    """Refuses words that would be lost, doubled or changed by a save and a load."""
    for token in tokens:
        problem = _problem(token, site)
        if problem:
            raise SurgeryError(f"tokens: {shortly(token)} {problem}")
    doubled = [token for token, count in Counter(tokens).items() if count > 1][:5]
    if doubled:
        raise SurgeryError(
            f"tokens: the same word is given more than once: {doubled}. Expected: "
            "each new word once."
        )
    present = sorted(set(tokens).intersection(site.words), key=str) if site else []
    if site is not None and present:
        raise SurgeryError(
            f"tokens: {len(present)} of the new words are in {site.class_name} "
            f"{site.layer!r} already, for example {present[:5]}. Expected: words it "
            "does not have. Leave them out; they keep their ids."
        )


def _integer_problem(token: str | int, site: WordsSite) -> str | None:
    if isinstance(token, bool) or not isinstance(token, int):
        return f"is not an integer, as the words of {site.layer!r} are."
    if not -(2**63) <= token < 2**63:
        return "does not fit into 64 bits, and Keras could not load it."
    if token in site.reserved:
        return f"is how {site.layer!r} writes padding or an unknown word. Leave it out."
    return None


def _problem(token: str | int, site: WordsSite | None) -> str | None:
    if isinstance(token, str | int) and is_spare(token):
        return "is the mark of a spare row. Expected: another word."
    if site is not None and site.has_integers:
        return _integer_problem(token, site)
    if not isinstance(token, str):
        return "is not a string. Expected: words as strings."
    if token == "":
        return "is empty, which Keras reads back as padding. Leave it out."
    if (problem := unwritable(token)) is not None:
        return problem
    if site is not None and token in site.reserved:
        return f"is how {site.layer!r} writes padding or an unknown word."
    return None


def unwritable(word: str) -> str | None:
    """Why a word cannot stand in a list of words, if there is a reason."""
    if any(sign in word for sign in _LINE_BREAKS):
        return (
            "holds a line break, at which Keras would cut it in two on loading. "
            "Expected: a word that fits on one line."
        )
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return "cannot be written as UTF-8. Expected: text without lone surrogates."
    return None
