"""Image + text."""

import keras_hub

from .registry import H, L, family, lm, reg


def blip2_opt(v, vision=True, **kw):
    q = 3 if vision else 0
    text = H.BLIP2CustomOPT(
        **{
            **dict(
                vocabulary_size=v,
                num_layers=1,
                num_heads=2,
                hidden_dim=10,
                intermediate_dim=18,
                num_query_tokens=q,
                qformer_hidden_dim=6,
                max_sequence_length=15,
                dropout=0.0,
            ),
            **kw,
        }
    )
    return H.BLIP2Backbone(
        vision_encoder=_blip_vis() if vision else None,
        qformer=_qformer() if vision else None,
        language_model=text,
    )


def _blip_vis():
    return H.BLIP2VisionEncoder(
        image_size=16,
        patch_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=14,
        use_patch_bias=True,
        use_class_token=True,
        use_mha_bias=True,
        use_mlp_bias=True,
        dropout_rate=0.0,
        layer_norm_epsilon=1e-6,
        initializer_range=0.02,
    )


def _qformer():
    return H.BLIP2QFormer(
        num_query_tokens=3,
        num_layers=1,
        num_heads=2,
        hidden_dim=6,
        intermediate_dim=11,
        vision_dim=8,
        cross_attention_frequency=1,
        dropout=0.0,
        layer_norm_epsilon=1e-6,
    )


def blip2_t5(v):
    text = H.BLIP2FlanT5(
        vocabulary_size=v,
        num_layers=1,
        num_heads=2,
        hidden_dim=10,
        intermediate_dim=18,
        key_value_dim=4,
        num_query_tokens=3,
        qformer_hidden_dim=6,
        dropout=0.0,
    )
    return H.BLIP2Backbone(
        vision_encoder=_blip_vis(), qformer=_qformer(), language_model=text
    )


family("blip2_opt", blip2_opt, 49, causal_lm=lm(H.BLIP2CausalLM))
reg("blip2_opt_text_only_causal_lm", 47)(
    lambda v: lm(H.BLIP2CausalLM)(blip2_opt(v, vision=False))
)
family("blip2_flan_t5", blip2_t5, 51, seq2seq_lm=lm(H.BLIP2Seq2SeqLM))


def parseq(v, **kw):
    enc = H.ViTBackbone(
        image_shape=(16, 32, 3),
        patch_size=(4, 8),
        num_layers=1,
        num_heads=2,
        hidden_dim=12,
        mlp_dim=20,
        use_class_token=False,
        name="image_encoder",
    )
    c = dict(
        max_label_length=9,
        num_decoder_heads=2,
        num_decoder_layers=1,
        decoder_hidden_dim=12,
        decoder_mlp_dim=18,
    )
    return H.PARSeqBackbone(image_encoder=enc, vocabulary_size=v, **{**c, **kw})


_PARSEQ = "embedding has v rows, the head v - 2 columns (no <bos>/<pad> predicted)"
reg("parseq_backbone", 53, _PARSEQ)(parseq)


def _parseq_lm(b, preprocessor, **kw):
    m = H.PARSeqCausalLM(backbone=b, preprocessor=preprocessor, compile=False, **kw)
    m.compile("adam", "sparse_categorical_crossentropy", weighted_metrics=None)
    return m


reg(
    "parseq_causal_lm",
    53,
    _PARSEQ,
    skip="PARSeqCausalLM.compile() (called in __init__) reads "
    "preprocessor.tokenizer: fails with preprocessor=None",
)(lambda v: _parseq_lm(parseq(v), None))
reg(
    "parseq_causal_lm_preprocessor",
    97,
    _PARSEQ + "; the preprocessor's PARSeqTokenizer keeps its 97 tokens",
)(
    lambda v: _parseq_lm(
        parseq(v),
        H.PARSeqCausalLMPreprocessor(
            image_converter=L.PARSeqImageConverter(image_size=(16, 32)),
            tokenizer=keras_hub.tokenizers.PARSeqTokenizer(),
        ),
    )
)


def clip_text(cls, v, **kw):
    c = dict(
        embedding_dim=10,
        hidden_dim=10,
        num_layers=1,
        num_heads=2,
        intermediate_dim=18,
        max_sequence_length=13,
    )
    return cls(vocabulary_size=v, **{**c, **kw})


def clip_vision(cls, **kw):
    c = dict(
        patch_size=8,
        hidden_dim=12,
        num_layers=1,
        num_heads=2,
        intermediate_dim=20,
        image_shape=(16, 16, 3),
    )
    return cls(**{**c, **kw})


reg("clip_text_encoder", 57)(lambda v: clip_text(H.CLIPTextEncoder, v))


@reg("clip_backbone", 53)
def clip(v, **kw):
    return H.CLIPBackbone(
        vision_encoder=clip_vision(H.CLIPVisionEncoder, name="vision_encoder"),
        text_encoder=clip_text(H.CLIPTextEncoder, v, name="text_encoder", **kw),
        projection_dim=9,
    )


reg("clip_backbone_maxseq_eq", 77, "max_sequence_length == v == 77")(
    lambda v: clip(v, max_sequence_length=77)
)


@reg("siglip_backbone", 53)
def siglip(v):
    return H.SigLIPBackbone(
        vision_encoder=clip_vision(H.SigLIPVisionEncoder, name="vision_encoder"),
        text_encoder=clip_text(
            H.SigLIPTextEncoder, v, name="text_encoder", projection_dim=12
        ),
    )


reg("siglip_text_encoder_proj_eq", 35, "projection_dim == v")(
    lambda v: clip_text(H.SigLIPTextEncoder, v, projection_dim=35)
)


@reg("metaclip_2_backbone", 55)
def metaclip2(v):
    return H.MetaCLIP2Backbone(
        vision_encoder=clip_vision(H.MetaCLIP2VisionEncoder, name="vision_encoder"),
        text_encoder=clip_text(H.MetaCLIP2TextEncoder, v, name="text_encoder"),
        projection_dim=9,
    )


reg("metaclip_2_text_encoder", 51)(lambda v: clip_text(H.MetaCLIP2TextEncoder, v))


@reg("video_prism_backbone", 49)
def video_prism(v):
    return H.VideoPrismBackbone(
        num_frames=3,
        patch_size=8,
        hidden_dim=8,
        intermediate_dim=14,
        num_heads=2,
        num_spatial_layers=1,
        num_temporal_layers=1,
        num_auxiliary_layers=1,
        vocabulary_size=v,
        num_text_layers=1,
        attention_logit_soft_cap=50.0,
        image_shape=(16, 16, 3),
    )


def sam3(v):
    size = (28, 28, 3)
    d = dict(hidden_dim=16, intermediate_dim=22, num_heads=2)
    return H.SAM3PromptableConceptBackbone(
        vision_encoder=L_vision(size),
        text_encoder=L.SAM3TextEncoder(
            vocabulary_size=v,
            embedding_dim=16,
            hidden_dim=16,
            num_layers=1,
            num_heads=2,
            intermediate_dim=22,
        ),
        geometry_encoder=L.SAM3GeometryEncoder(num_layers=1, roi_size=7, **d),
        detr_encoder=L.SAM3DetrEncoder(num_layers=1, **d),
        detr_decoder=L.SAM3DetrDecoder(
            image_shape=size, patch_size=14, num_layers=1, num_queries=5, **d
        ),
        mask_decoder=L.SAM3MaskDecoder(
            num_upsampling_stages=3, hidden_dim=16, num_heads=2
        ),
    )


def L_vision(size):
    return L.SAM3VisionEncoder(
        image_shape=size,
        patch_size=14,
        num_layers=1,
        hidden_dim=16,
        intermediate_dim=22,
        num_heads=2,
        fpn_hidden_dim=16,
        fpn_scale_factors=[4.0, 2.0, 1.0, 0.5],
        pretrain_image_shape=(42, 42, 3),
        window_size=2,
        global_attn_indexes=[0],
    )


family("sam3", sam3, 45, image_segmenter=lm(H.SAM3PromptableConceptImageSegmenter))


def sd3(v, t5_v=None):
    # clip_l and clip_g read the same CLIP vocabulary: both move with v.
    # The optional t5 encoder has a vocabulary of its own (another tokenizer).
    from keras_hub.src.models.stable_diffusion_3.t5_encoder import T5Encoder
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    f = [32, 32, 32, 32]
    t5e = None
    if t5_v:
        t5e = T5Encoder(
            vocabulary_size=t5_v,
            num_layers=1,
            num_heads=2,
            hidden_dim=24,
            intermediate_dim=14,
            name="t5",
        )
    return H.StableDiffusion3Backbone(
        mmdit_patch_size=2,
        mmdit_hidden_dim=16,
        mmdit_num_layers=1,
        mmdit_num_heads=2,
        mmdit_position_size=12,
        mmdit_qk_norm=None,
        mmdit_dual_attention_indices=None,
        vae=VAEBackbone(f, [1] * 4, f, [1] * 4, sampler_method="mode", name="vae"),
        clip_l=H.CLIPTextEncoder(
            v, 8, 8, 2, 2, 14, "quick_gelu", -2, max_sequence_length=13, name="clip_l"
        ),
        clip_g=H.CLIPTextEncoder(
            v, 12, 12, 2, 2, 18, "gelu", -2, max_sequence_length=13, name="clip_g"
        ),
        t5=t5e,
        image_shape=(32, 32, 3),
    )


_SD3 = "two text encoders (clip_l, clip_g) with one vocabulary, both move"
family(
    "stable_diffusion_3",
    sd3,
    53,
    _SD3,
    text_to_image=lm(H.StableDiffusion3TextToImage),
    image_to_image=lm(H.StableDiffusion3ImageToImage),
    inpaint=lm(H.StableDiffusion3Inpaint),
)
reg(
    "stable_diffusion_3_t5_backbone",
    51,
    _SD3 + "; the t5 encoder has its own fixed vocabulary of 41",
)(lambda v: sd3(v, t5_v=41))
