"""Functional models of our own from keras_hub.layers."""

import keras
from keras import layers

from .encoders import bert
from .registry import L, reg

_INNER = (
    "the head uses TokenAndPositionEmbedding.token_embedding, a sub-layer "
    "that is serialized a second time: the copy finds no weights"
)


def _ids(name=None):
    return keras.Input((12,), dtype="int32", name=name)


def _enc(x, n=1):
    for _ in range(n):
        x = L.TransformerEncoder(18, 2)(x)
    return x


@reg("own_encoder_classifier", 53)
def own_encoder_classifier(v):
    i = _ids()
    x = L.TokenAndPositionEmbedding(v, 12, 10)(i)
    x = layers.GlobalAveragePooling1D()(_enc(x, 2))
    return keras.Model(i, layers.Dense(3)(x))


@reg("own_encoder_mlm_head_inner_tied", 51, skip=_INNER)
def own_mlm_tied(v):
    i, p = _ids("ids"), keras.Input((4,), dtype="int32", name="positions")
    emb = L.TokenAndPositionEmbedding(v, 12, 10)
    x = _enc(emb(i))
    y = L.MaskedLMHead(token_embedding=emb.token_embedding, activation="softmax")(x, p)
    return keras.Model([i, p], y)


@reg("own_encoder_mlm_head_tied", 54)
def own_mlm_tied_graph(v):
    i, p = _ids("ids"), keras.Input((4,), dtype="int32", name="positions")
    emb = L.ReversibleEmbedding(v, 10, name="tokens")
    x = emb(i)
    x = _enc(layers.Add()([x, L.PositionEmbedding(12)(x)]))
    y = L.MaskedLMHead(token_embedding=emb, activation="softmax")(x, p)
    return keras.Model([i, p], y)


@reg("own_encoder_mlm_head_untied", 49, "MaskedLMHead(vocabulary_size=v)")
def own_mlm_untied(v):
    i, p = _ids("ids"), keras.Input((4,), dtype="int32", name="positions")
    x = _enc(L.TokenAndPositionEmbedding(v, 12, 10)(i))
    return keras.Model([i, p], L.MaskedLMHead(vocabulary_size=v)(x, p))


@reg("own_decoder_lm_tied", 47)
def own_decoder_tied(v):
    i = _ids()
    emb = L.ReversibleEmbedding(v, 10, tie_weights=True)
    x = emb(i)
    x = layers.Add()([x, L.PositionEmbedding(12)(x)])
    x = L.TransformerDecoder(18, 2)(x)
    return keras.Model(i, emb(x, reverse=True))


@reg("own_decoder_lm_untied", 45)
def own_decoder_untied(v):
    i = _ids()
    emb = L.ReversibleEmbedding(v, 10, tie_weights=False, logit_soft_cap=20.0)
    x = emb(i)
    x = layers.Add()([x, L.SinePositionEncoding()(x)])
    x = L.TransformerDecoder(18, 2)(x)
    return keras.Model(i, emb(x, reverse=True))


@reg("own_decoder_lm_dense_head", 43, "plain Dense(v) head with bias")
def own_decoder_dense(v):
    i = _ids()
    x = L.TokenAndPositionEmbedding(v, 12, 10, mask_zero=True)(i)
    x = L.TransformerDecoder(18, 2, normalize_first=True)(x)
    return keras.Model(i, layers.Dense(v, activation="softmax")(x))


@reg("own_seq2seq_shared", 42, "encoder, decoder and output share one table")
def own_seq2seq_graph(v):
    s, t = _ids("source"), _ids("target")
    emb, pos = L.ReversibleEmbedding(v, 10), L.PositionEmbedding(12)
    x = layers.Add()([emb(s), pos(emb(s))])
    y = layers.Add()([emb(t), pos(emb(t))])
    y = L.TransformerDecoder(18, 2)(y, _enc(x))
    return keras.Model([s, t], emb(y, reverse=True))


@reg(
    "own_seq2seq_shared_token_position",
    40,
    "encoder and decoder share one TokenAndPositionEmbedding, separate Dense head",
)
def own_seq2seq_tap(v):
    s, t = _ids("source"), _ids("target")
    emb = L.TokenAndPositionEmbedding(v, 12, 10)
    y = L.TransformerDecoder(18, 2)(emb(t), _enc(emb(s)))
    return keras.Model([s, t], layers.Dense(v, use_bias=False)(y))


@reg("own_seq2seq_inner_tied", 41, skip=_INNER)
def own_seq2seq(v):
    s, t = _ids("source"), _ids("target")
    emb = L.TokenAndPositionEmbedding(v, 12, 10)
    x = L.TransformerDecoder(18, 2)(emb(t), _enc(emb(s)))
    return keras.Model([s, t], emb.token_embedding(x, reverse=True))


@reg(
    "own_seq2seq_separate_tables",
    39,
    "two tables and a Dense head, one vocabulary: all three move",
)
def own_seq2seq_sep(v):
    s, t = _ids("source"), _ids("target")
    e = _enc(L.TokenAndPositionEmbedding(v, 12, 10, name="enc_emb")(s))
    x = L.TokenAndPositionEmbedding(v, 12, 10, name="dec_emb")(t)
    x = L.TransformerDecoder(18, 2)(x, e)
    return keras.Model([s, t], layers.Dense(v, name="logits")(x))


@reg(
    "own_seq2seq_two_vocabs",
    37,
    "TWO vocabularies: source (fixed 44) and target (v: table and head). "
    "Only the target one moves in `grown`; mind that 44 == 37 + 7, the "
    "grown target size equals the fixed source size.",
)
def own_seq2seq_two(v):
    s, t = _ids("source"), _ids("target")
    e = _enc(L.TokenAndPositionEmbedding(44, 12, 10, name="source_emb")(s))
    x = L.TokenAndPositionEmbedding(v, 12, 10, name="target_emb")(t)
    x = L.TransformerDecoder(18, 2)(x, e)
    return keras.Model([s, t], layers.Dense(v, name="logits")(x))


@reg("own_fnet_sequential", 35, "keras.Sequential")
def own_fnet(v):
    return keras.Sequential(
        [
            _ids(),
            L.TokenAndPositionEmbedding(v, 12, 9),
            L.FNetEncoder(16),
            layers.GlobalMaxPooling1D(),
            layers.Dense(2),
        ]
    )


@reg("own_nested_encoder", 33, "Functional encoder nested in a Functional LM")
def own_nested(v):
    i = _ids()
    x = _enc(L.TokenAndPositionEmbedding(v, 12, 10)(i))
    enc = keras.Model(i, x, name="encoder")
    j = _ids("tokens")
    y = enc(j)
    return keras.Model(j, layers.Dense(v, name="lm_head")(y))


@reg("own_rotary_gru", 31, "ReversibleEmbedding, RotaryEmbedding and a GRU")
def own_rotary(v):
    i = _ids()
    emb = L.ReversibleEmbedding(v, 10, tie_weights=True)
    x = layers.RMSNormalization()(L.RotaryEmbedding()(emb(i)))
    x = layers.GRU(10, return_sequences=True)(x)
    return keras.Model(i, emb(x, reverse=True))


@reg(
    "own_on_bert_backbone",
    38,
    "Dense(v) on a frozen BertBackbone: the "
    "backbone has no optimizer slots. On load Keras does not restore the "
    "frozen state (38 optimizer variables instead of the 6 saved)",
)
def own_on_bert(v):
    b = bert(v, num_layers=1)
    b.trainable = False
    x = b.output["sequence_output"]
    return keras.Model(b.input, layers.Dense(v, name="logits")(x))


@reg(
    "own_decoder_tied_all_eq",
    20,
    "sequence length, embedding dim and intermediate dim == v",
)
def own_all_eq(v):
    i = keras.Input((20,), dtype="int32")
    emb = L.ReversibleEmbedding(v, 20, tie_weights=False)
    x = emb(i)
    x = layers.Add()([x, L.PositionEmbedding(20)(x)])
    x = L.TransformerDecoder(20, 2)(x)
    return keras.Model(i, emb(x, reverse=True))


@reg("own_encoder_maxseq_eq", 21, "sequence length == v")
def own_maxseq_eq(v):
    i = keras.Input((21,), dtype="int32")
    x = _enc(L.TokenAndPositionEmbedding(v, 21, 10)(i))
    return keras.Model(i, layers.Dense(v)(x))


@reg(
    "own_hub_rms_norm",
    30,
    skip="keras_hub.layers.RMSNormalization cannot "
    "be deserialized: its __init__ takes no `trainable`",
)
def own_hub_rms(v):
    i = _ids()
    emb = L.ReversibleEmbedding(v, 10)
    return keras.Model(i, emb(L.RMSNormalization(10)(emb(i)), reverse=True))


@reg("own_frozen_table", 36, "embedding table frozen: no slots for it")
def own_frozen(v):
    i = _ids()
    x = L.ReversibleEmbedding(v, 10, trainable=False)(i)
    return keras.Model(i, layers.Dense(v)(_enc(x)))


@reg(
    "own_lora_table",
    34,
    "LoRA (rank 3) on the table: lora_embeddings_a is "
    "(v, 3) and has slots; the table itself is frozen. Keras saves the "
    "table merged with the LoRA product and no lora_* arrays",
)
def own_lora(v):
    i = _ids()
    emb = L.ReversibleEmbedding(v, 10, name="tokens")
    m = keras.Model(i, emb(L.TransformerDecoder(18, 2)(emb(i)), reverse=True))
    emb.enable_lora(3)
    return m


@reg(
    "own_decoder_int8",
    32,
    skip="TransformerDecoder does not save the int8 "
    "policies of its sub-layers: rebuilt as float, variable counts differ",
)
def own_int8(v):
    i = _ids()
    emb = L.ReversibleEmbedding(v, 10, tie_weights=False, name="tokens")
    m = keras.Model(i, emb(L.TransformerDecoder(18, 2)(emb(i)), reverse=True))
    m.quantize("int8")
    return m
