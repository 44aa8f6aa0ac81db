"""The words of KerasHub tokenizers, from the files and the configuration of each."""

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from keras_padsafe.archive import Archive
from keras_padsafe.facts.packages import SPECIAL, WHOLE
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.sites import ConfigSite, WordsSite, site_in
from keras_padsafe.surgery.finding.text_rules import PieceRule
from keras_padsafe.surgery.finding.vocabulary import Draft
from keras_padsafe.surgery.finding.word_files import WORD_FILES

_PROBE = "<keras_padsafe>"


def bind_tokenizer(draft: Draft, layer: LayerNode, model: ModelFile) -> None:
    """Adds the words of a tokenizer, if it can take in new ones.

    KerasHub builds it to show that the ids of its words are those of its file. What
    keeps a token of byte pairs whole is a list of its configuration.
    """
    problem = _bind(draft, layer, model)
    if problem is not None:
        draft.closed_words.append(f"{layer.title} {problem}")


def _bind(draft: Draft, layer: LayerNode, model: ModelFile) -> str | None:
    asset = _word_file(layer, model.archive)
    if asset is None:
        return "of the model holds no list of words that can be extended"
    path = PurePosixPath(asset)
    kind = WORD_FILES[path.name]
    words = kind.read(model.archive.assets[asset].read())
    if words is None:
        return f"has ids without a word, or several words for one id, in {asset}"
    site = WordsSite(
        layer.name,
        None,
        (asset,),
        0,
        f"tokenizer of the model of {draft.layers[0]!r}",
        class_name=layer.class_name,
        words=words,
        only_appends=kind.only_appends,
    )
    if model.asking is not None:
        from keras_padsafe.skeleton import NotBuilt, build_tokenizer

        beside = {
            other.name: model.archive.assets[str(other)].read()
            for other in map(PurePosixPath, model.archive.assets)
            if other.parent == path.parent
        }
        grown = kind.write(beside[path.name], [*words, _PROBE])
        try:
            built = build_tokenizer(layer.serialized, beside)
            if built.ids != {word: id_ for id_, word in enumerate(words)}:
                more = build_tokenizer(layer.serialized, {**beside, path.name: grown})
                placed = _placed(built.ids, more.ids, site)
                if placed is None:
                    return f"gives words other ids than {asset} says"
                site = placed
        except NotBuilt as error:
            return f"cannot be built. KerasHub says: {error}"
        site = replace(site, reserved=built.special)
        if path.suffix == ".txt":
            site = _with_rule(draft, layer, site, built.config)
        if path.suffix == ".json":
            if WHOLE not in built.config:
                return "is of a class that sets by itself which tokens are never cut"
            draft.add_config([_kept_whole(layer, built.config[WHOLE])])
    elif kind.only_appends:
        return "is one that Keras could not be asked about"
    draft.words.append(site)
    return None


def _placed(
    ids: dict[str, int], grown: dict[str, int], site: WordsSite
) -> WordsSite | None:
    """The site of a tokenizer with words before or behind those of its file.

    One word more at the end of the file shows where new ones come: those behind it
    move up.
    """
    by_id = sorted(ids, key=ids.__getitem__)
    new = sorted(grown, key=grown.__getitem__)
    for known, order in ((ids, by_id), (grown, new)):
        if [known[word] for word in order] != list(range(len(order))):
            return None
    end = grown.get(_PROBE, 0)
    first = end - len(site.words)
    if first < 0 or new != [*by_id[:end], _PROBE, *by_id[end:]]:
        return None
    words = tuple(by_id[first:end])
    return replace(site, first_id=first, words=words, inserts=end < len(by_id))


def _with_rule(
    draft: Draft, layer: LayerNode, site: WordsSite, config: dict[str, Any]
) -> WordsSite:
    """The site of a WordPiece tokenizer, with what it does to text first.

    Where it finds special tokens in text, new ones that it would cut are to be some.
    """
    lowers, splits = config.get("lowercase") is True, config.get("split") is True
    rule = PieceRule(lowers, splits, str(config.get("suffix_indicator") or ""))
    if not (splits and config.get("special_tokens_in_strings")):
        return replace(site, text_rule=rule)
    reason = f"{layer.title}: lists the tokens that are never cut"
    draft.add_config([site_in(layer, SPECIAL, "cut", reason, default=rule)])
    return site


def _kept_whole(layer: LayerNode, default: list[str] | None) -> ConfigSite:
    reason = f"{layer.title}: lists the tokens that are never cut"
    return site_in(layer, WHOLE, "whole", reason, default=tuple(sorted(default or ())))


def _word_file(layer: LayerNode, archive: Archive) -> str | None:
    """The asset that lists the words of a tokenizer."""
    folders = [f"assets/{layer.weights_path}"]
    file = layer.config.get("config_file")
    if isinstance(file, str):
        folders.append(f"assets/{file.partition('.')[0]}")
    for folder in folders:
        for name in WORD_FILES:
            if f"{folder}/{name}" in archive.assets:
                return f"{folder}/{name}"
    return None
