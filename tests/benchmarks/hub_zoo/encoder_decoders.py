"""Encoder-decoders."""

from .registry import H, family, lm, reg


def t5(v, **kw):
    c = dict(
        num_layers=1, num_heads=2, hidden_dim=10, intermediate_dim=18, key_value_dim=4
    )
    return H.T5Backbone(vocabulary_size=v, **{**c, **kw})


family("t5", t5, 53, seq2seq_lm=lm(H.T5Seq2SeqLM))
reg("t5_seq2seq_lm_untied", 51)(
    lambda v: lm(H.T5Seq2SeqLM)(t5(v, tie_embedding_weights=False))
)
reg("t5_seq2seq_lm_buckets_eq", 32, "v == 32 relative attention buckets")(
    lambda v: lm(H.T5Seq2SeqLM)(t5(v))
)


def _t5g(**kw):
    c = dict(
        encoder_hidden_dim=16,
        encoder_intermediate_dim=22,
        encoder_num_layers=2,
        encoder_num_attention_heads=2,
        encoder_num_key_value_heads=1,
        encoder_head_dim=6,
        encoder_layer_types=["sliding_attention", "full_attention"],
        decoder_hidden_dim=16,
        decoder_intermediate_dim=26,
        decoder_num_layers=2,
        decoder_num_attention_heads=2,
        decoder_num_key_value_heads=1,
        decoder_head_dim=6,
        decoder_layer_types=["sliding_attention", "full_attention"],
        sliding_window=4,
        cross_attention_hidden_size=16,
    )
    return {**c, **kw}


# encoder and decoder have separate tables, but one vocabulary_size argument
def t5gemma(v, **kw):
    return H.T5GemmaBackbone(vocabulary_size=v, **_t5g(**kw))


_T5G = "two separate tables (encoder, decoder) under one vocabulary_size"
family("t5gemma", t5gemma, 49, _T5G, seq2seq_lm=lm(H.T5GemmaSeq2SeqLM))
reg("t5gemma_seq2seq_lm_untied", 47, _T5G + "; untied head")(
    lambda v: lm(H.T5GemmaSeq2SeqLM)(
        t5gemma(v, tie_word_embeddings=False, final_logit_softcapping=30.0)
    )
)


# eoi_token_index must be inside the vocabulary: a fixed id, it does not move
def t5gemma2(v, **kw):
    return H.T5Gemma2Backbone(vocabulary_size=v, **_t5g(eoi_token_index=5, **kw))


family("t5gemma2", t5gemma2, 45, _T5G, seq2seq_lm=lm(H.T5Gemma2Seq2SeqLM))
reg("t5gemma2_seq2seq_lm_untied", 43, _T5G + "; untied head")(
    lambda v: lm(H.T5Gemma2Seq2SeqLM)(t5gemma2(v, tie_word_embeddings=False))
)


reg("t5gemma2_vision_seq2seq_lm", 41, _T5G + "; with a vision encoder")(
    lambda v: lm(H.T5Gemma2Seq2SeqLM)(
        t5gemma2(
            v,
            vision_encoder=H.Gemma3VisionEncoder(
                image_size=16,
                patch_size=4,
                pool_size=2,
                num_layers=1,
                num_heads=2,
                hidden_dim=10,
                intermediate_dim=18,
                output_dim=16,
            ),
        )
    )
)


def bart(v, **kw):
    c = dict(
        num_layers=1,
        num_heads=2,
        hidden_dim=10,
        intermediate_dim=18,
        max_sequence_length=15,
    )
    return H.BartBackbone(vocabulary_size=v, **{**c, **kw})


family("bart", bart, 53, seq2seq_lm=lm(H.BartSeq2SeqLM))
reg("bart_seq2seq_lm_maxseq_eq", 36, "max_sequence_length == v")(
    lambda v: lm(H.BartSeq2SeqLM)(bart(v, max_sequence_length=36))
)


def edrec(v, **kw):
    c = dict(
        num_layers_enc=1,
        num_layers_dec=1,
        num_heads=2,
        hidden_dim=10,
        intermediate_dim=18,
    )
    return H.EdRecBackbone(vocab_size=v, **{**c, **kw})


family(
    "edrec",
    edrec,
    51,
    seq2seq_lm=lm(H.EdRecSeq2SeqLM),
    note="argument is spelled vocab_size",
)


@reg("whisper_backbone", 53)
def whisper(v, **kw):
    c = dict(
        num_layers=1,
        num_heads=2,
        hidden_dim=10,
        intermediate_dim=18,
        num_mels=9,
        max_encoder_sequence_length=14,
        max_decoder_sequence_length=11,
    )
    return H.WhisperBackbone(vocabulary_size=v, **{**c, **kw})


reg(
    "whisper_backbone_maxseq_eq",
    22,
    "decoder max length, encoder max length/2 and num_mels == v",
)(
    lambda v: whisper(
        v, num_mels=22, max_decoder_sequence_length=22, max_encoder_sequence_length=44
    )
)


def moonshine(v, **kw):
    c = dict(
        filter_dim=12,
        encoder_num_layers=1,
        decoder_num_layers=1,
        hidden_dim=12,
        intermediate_dim=18,
        encoder_num_heads=2,
        decoder_num_heads=2,
        max_position_embeddings=31,
    )
    return H.MoonshineBackbone(vocabulary_size=v, **{**c, **kw})


family("moonshine", moonshine, 47, audio_to_text=lm(H.MoonshineAudioToText))
