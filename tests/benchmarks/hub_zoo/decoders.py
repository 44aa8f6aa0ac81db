"""Decoders."""

from .registry import H, family, lm, reg


def gpt2(v, **kw):
    c = dict(
        num_layers=2,
        num_heads=2,
        hidden_dim=12,
        intermediate_dim=22,
        max_sequence_length=15,
    )
    return H.GPT2Backbone(vocabulary_size=v, **{**c, **kw})


family("gpt2", gpt2, 53, causal_lm=lm(H.GPT2CausalLM))
reg("gpt2_causal_lm_hidden_eq", 28, "hidden_dim == v (square tied table)")(
    lambda v: lm(H.GPT2CausalLM)(gpt2(v, num_layers=1, hidden_dim=28))
)


def quantized(model, mode="int8"):
    model.quantize(mode)
    return model


reg(
    "gpt2_causal_lm_int8",
    37,
    "quantized: int8 tied table and (v,) scales; no optimizer slots for them",
)(lambda v: quantized(lm(H.GPT2CausalLM)(gpt2(v, num_layers=1))))
reg("gpt2_causal_lm_bf16", 39, "bfloat16 weights")(
    lambda v: lm(H.GPT2CausalLM)(gpt2(v, num_layers=1, dtype="bfloat16"))
)
reg("gpt2_causal_lm_mixed", 41, "mixed_bfloat16 policy")(
    lambda v: lm(H.GPT2CausalLM)(gpt2(v, num_layers=1, dtype="mixed_bfloat16"))
)


def gpt_neox(v, **kw):
    c = dict(
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=23,
        max_sequence_length=15,
    )
    return H.GPTNeoXBackbone(vocabulary_size=v, **{**c, **kw})


family("gpt_neo_x", gpt_neox, 51, causal_lm=lm(H.GPTNeoXCausalLM))


def opt(v, **kw):
    c = dict(
        num_layers=1,
        num_heads=2,
        hidden_dim=10,
        intermediate_dim=17,
        max_sequence_length=19,
    )
    return H.OPTBackbone(vocabulary_size=v, **{**c, **kw})


family("opt", opt, 47, causal_lm=lm(H.OPTCausalLM))
reg("opt_causal_lm_maxseq_eq", 32, "max_sequence_length == v")(
    lambda v: lm(H.OPTCausalLM)(opt(v, max_sequence_length=32))
)


def bloom(v, **kw):
    c = dict(num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=18)
    return H.BloomBackbone(vocabulary_size=v, **{**c, **kw})


family("bloom", bloom, 49, causal_lm=lm(H.BloomCausalLM))


def falcon(v, **kw):
    c = dict(num_layers=1, num_attention_heads=2, hidden_dim=12, intermediate_dim=25)
    return H.FalconBackbone(vocabulary_size=v, **{**c, **kw})


family("falcon", falcon, 45, causal_lm=lm(H.FalconCausalLM))


def _gqa(**kw):
    c = dict(
        num_layers=1,
        num_query_heads=4,
        num_key_value_heads=2,
        hidden_dim=16,
        intermediate_dim=22,
    )
    return {**c, **kw}


_NO_TIE = (
    "the backbone's get_config() leaves tie_word_embeddings out, so the "
    "model is rebuilt untied and finds no reverse_embeddings"
)


def llama(v, **kw):
    return H.LlamaBackbone(vocabulary_size=v, **_gqa(**kw))


family(
    "llama", llama, 53, causal_lm=lm(H.LlamaCausalLM), note="untied reverse embedding"
)
reg("llama_causal_lm_tied", 55, skip=_NO_TIE)(
    lambda v: lm(H.LlamaCausalLM)(llama(v, tie_word_embeddings=True))
)
reg("llama_causal_lm_int8", 47, "quantized: int8 untied tables with scales")(
    lambda v: quantized(lm(H.LlamaCausalLM)(llama(v)))
)
reg("llama_causal_lm_hidden_eq", 24, "hidden_dim == v, untied: both tables square")(
    lambda v: lm(H.LlamaCausalLM)(llama(v, hidden_dim=24))
)


def llama3(v, **kw):
    return H.Llama3Backbone(vocabulary_size=v, **_gqa(**kw))


family("llama3", llama3, 59, causal_lm=lm(H.Llama3CausalLM))
reg("llama3_causal_lm_tied", 57, skip=_NO_TIE)(
    lambda v: lm(H.Llama3CausalLM)(llama3(v, tie_word_embeddings=True))
)


def mistral(v, **kw):
    return H.MistralBackbone(vocabulary_size=v, **_gqa(sliding_window=7, **kw))


family("mistral", mistral, 51, causal_lm=lm(H.MistralCausalLM))
reg(
    "mistral_causal_lm_ff_eq",
    38,
    "intermediate_dim == v, untied: the "
    "up-projections are (16, v) like the output table",
)(lambda v: lm(H.MistralCausalLM)(mistral(v, intermediate_dim=38)))


def mixtral(v, **kw):
    return H.MixtralBackbone(vocabulary_size=v, **_gqa(num_experts=3, top_k=2, **kw))


family("mixtral", mixtral, 49, causal_lm=lm(H.MixtralCausalLM))
reg("mixtral_causal_lm_experts_eq", 11, "num_experts == v")(
    lambda v: lm(H.MixtralCausalLM)(
        H.MixtralBackbone(vocabulary_size=v, **_gqa(num_experts=11, top_k=2))
    )
)


def gpt_oss(v, **kw):
    return H.GptOssBackbone(
        vocabulary_size=v,
        **_gqa(num_experts=3, top_k=2, sliding_window=5, head_dim=6, **kw),
    )


family("gpt_oss", gpt_oss, 47, causal_lm=lm(H.GptOssCausalLM))


def phi3(v, **kw):
    return H.Phi3Backbone(vocabulary_size=v, **_gqa(**kw))


family("phi3", phi3, 45, causal_lm=lm(H.Phi3CausalLM))
reg("phi3_causal_lm_su_ff_eq", 40, "su rope; intermediate_dim == v")(
    lambda v: lm(H.Phi3CausalLM)(
        phi3(
            v,
            intermediate_dim=40,
            max_sequence_length=10,
            pretraining_sequence_length=5,
            rope_scaling_type="su",
            rope_scaling_short_factor=[1.2, 1.4],
            rope_scaling_long_factor=[0.8, 0.6],
        )
    )
)


def qwen(v, **kw):
    return H.QwenBackbone(vocabulary_size=v, **_gqa(**kw))


family("qwen", qwen, 53, causal_lm=lm(H.QwenCausalLM))
reg("qwen_causal_lm_untied", 43)(
    lambda v: lm(H.QwenCausalLM)(qwen(v, tie_word_embeddings=False))
)


def qwen_moe(v, **kw):
    return H.QwenMoeBackbone(
        vocabulary_size=v,
        **_gqa(
            moe_intermediate_dim=9,
            shared_expert_intermediate_dim=11,
            num_experts=3,
            top_k=2,
            **kw,
        ),
    )


family("qwen_moe", qwen_moe, 52, causal_lm=lm(H.QwenMoeCausalLM))


def qwen3(v, **kw):
    return H.Qwen3Backbone(vocabulary_size=v, **_gqa(head_dim=6, **kw))


family(
    "qwen3",
    qwen3,
    58,
    causal_lm=lm(H.Qwen3CausalLM),
    text_embedder=lm(H.Qwen3TextEmbedder),
)
reg(
    "qwen3_causal_lm_untied_head_eq",
    30,
    "untied; num_query_heads*head_dim... head_dim == v",
)(
    lambda v: lm(H.Qwen3CausalLM)(
        H.Qwen3Backbone(
            vocabulary_size=v, tie_word_embeddings=False, **_gqa(head_dim=30)
        )
    )
)


def qwen3_moe(v, **kw):
    return H.Qwen3MoeBackbone(
        vocabulary_size=v,
        **_gqa(moe_intermediate_dim=9, num_experts=3, head_dim=6, top_k=2, **kw),
    )


family("qwen3_moe", qwen3_moe, 54, causal_lm=lm(H.Qwen3MoeCausalLM))

_LINEAR = dict(
    layer_types=["linear_attention", "full_attention"],
    linear_num_key_heads=2,
    linear_num_value_heads=2,
    linear_key_head_dim=3,
    linear_value_head_dim=3,
    linear_conv_kernel_dim=4,
)


def qwen3_5(v, **kw):
    return H.Qwen3_5Backbone(
        vocabulary_size=v, **{**_gqa(num_layers=2, head_dim=8), **_LINEAR, **kw}
    )


family("qwen3_5", qwen3_5, 46, causal_lm=lm(H.Qwen3_5CausalLM))
reg("qwen3_5_causal_lm_tied", 42)(
    lambda v: lm(H.Qwen3_5CausalLM)(qwen3_5(v, tie_word_embeddings=True))
)


def qwen3_5_vision(v):
    from keras_hub.src.models.qwen3_5.qwen3_5_vision_encoder import Qwen3_5VisionEncoder

    return qwen3_5(
        v,
        mrope_section=[1, 0, 0],
        vision_encoder=Qwen3_5VisionEncoder(
            depth=1,
            hidden_size=12,
            num_heads=2,
            intermediate_size=18,
            in_channels=3,
            patch_size=4,
            temporal_patch_size=2,
            spatial_merge_size=2,
            out_hidden_size=16,
            num_position_embeddings=16,
        ),
    )


reg("qwen3_5_vision_causal_lm", 39)(lambda v: lm(H.Qwen3_5CausalLM)(qwen3_5_vision(v)))


def qwen3_5_moe(v, **kw):
    c = _gqa(num_layers=2, head_dim=8)
    c.pop("intermediate_dim")
    return H.Qwen3_5MoeBackbone(
        vocabulary_size=v,
        **{
            **c,
            **_LINEAR,
            **dict(
                moe_intermediate_dim=9,
                num_experts=3,
                top_k=2,
                shared_expert_intermediate_size=11,
            ),
            **kw,
        },
    )


family("qwen3_5_moe", qwen3_5_moe, 44, causal_lm=lm(H.Qwen3_5MoeCausalLM))


def smollm3(v, **kw):
    c = dict(
        hidden_dim=16,
        intermediate_dim=21,
        num_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_bias=False,
        attention_dropout=0.0,
        rope_layer_enabled_list=[True, False],
        layer_types=["attention", "attention"],
        mlp_bias=False,
        layer_norm_epsilon=1e-5,
        max_position_embeddings=29,
        rope_theta=10000.0,
        partial_rotary_factor=1.0,
    )
    return H.SmolLM3Backbone(vocabulary_size=v, **{**c, **kw})


family("smollm3", smollm3, 48, causal_lm=lm(H.SmolLM3CausalLM))


def rwkv7(v, **kw):
    c = dict(
        hidden_size=16,
        head_size=4,
        num_layers=1,
        intermediate_dim=22,
        gate_lora=5,
        mv_lora=6,
        aaa_lora=7,
        decay_lora=9,
    )
    return H.RWKV7Backbone(vocabulary_size=v, **{**c, **kw})


family("rwkv7", rwkv7, 56, causal_lm=lm(H.RWKV7CausalLM))


def gemma(v, **kw):
    c = dict(
        num_layers=1,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=12,
        intermediate_dim=22,
        head_dim=6,
    )
    return H.GemmaBackbone(vocabulary_size=v, **{**c, **kw})


family("gemma", gemma, 53, causal_lm=lm(H.GemmaCausalLM))
reg("gemma2_causal_lm", 57, "Gemma 2 options of GemmaBackbone")(
    lambda v: lm(H.GemmaCausalLM)(
        gemma(
            v,
            num_layers=2,
            use_post_ffw_norm=True,
            use_post_attention_norm=True,
            attention_logit_soft_cap=50.0,
            final_logit_soft_cap=30.0,
            use_sliding_window_attention=True,
            sliding_window_size=5,
        )
    )
)
reg("gemma_causal_lm_hidden_eq", 34, "hidden_dim == v (tied, square)")(
    lambda v: lm(H.GemmaCausalLM)(gemma(v, hidden_dim=34))
)


def gemma3(v, **kw):
    c = dict(
        image_size=16,
        num_layers=2,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=12,
        intermediate_dim=20,
        head_dim=6,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        use_sliding_window_attention=True,
        sliding_window_size=7,
    )
    return H.Gemma3Backbone(vocabulary_size=v, **{**c, **kw})


def gemma3_vision(v, **kw):
    enc = H.Gemma3VisionEncoder(
        image_size=16,
        patch_size=4,
        pool_size=2,
        num_layers=1,
        num_heads=2,
        hidden_dim=10,
        intermediate_dim=18,
        output_dim=12,
    )
    return gemma3(v, vision_encoder=enc, **kw)


family(
    "gemma3",
    gemma3,
    51,
    causal_lm=lm(H.Gemma3CausalLM),
    text_embedder=lm(H.Gemma3TextEmbedder),
)
family("gemma3_vision", gemma3_vision, 49, causal_lm=lm(H.Gemma3CausalLM))
reg(
    "gemma3_vision_causal_lm_patches_eq",
    16,
    "16 image patches == v == image_size: position table (16, 10)",
)(lambda v: lm(H.Gemma3CausalLM)(gemma3_vision(v)))


def gemma3n(v, per_layer=None, **kw):
    # As in the released model, the table of the layers has a number of its own, and
    # ids beyond it are looked up as 0 there: growing the text's leaves it alone.
    c = dict(
        text_hidden_size=8,
        num_hidden_layers=2,
        pad_token_id=0,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        intermediate_size=[14, 14],
        hidden_activation="gelu_approximate",
        layer_types=["full_attention", "sliding_attention"],
        sliding_window=4,
        rope_theta=10000.0,
        max_position_embeddings=20,
        hidden_size_per_layer_input=3,
        altup_num_inputs=2,
        laurel_rank=1,
    )
    return H.Gemma3nBackbone(
        text_vocab_size=v, vocab_size_per_layer_input=per_layer or 45, **{**c, **kw}
    )


family(
    "gemma3n",
    gemma3n,
    45,
    causal_lm=lm(H.Gemma3nCausalLM),
    note="two numbers: text_vocab_size moves, vocab_size_per_layer_input stays",
)
reg(
    "gemma3n_causal_lm_perlayer_fixed",
    47,
    "vocab_size_per_layer_input is a fixed 40 (smaller than v, as in the "
    "released Gemma 3n, 262144 < 262400); only text_vocab_size moves. "
    "Ids >= 40 are looked up as 0 in the per-layer table.",
)(lambda v: lm(H.Gemma3nCausalLM)(gemma3n(v, per_layer=40)))


def gemma3n_mm(v):
    # Laid out as the released model: text ids [0, 30), vision ids [30, 38),
    # audio ids [38, 50); the text table covers all 50, the per-layer table
    # the 30 text ids.  Three further "vocabularies" that do not move with v.
    from keras_hub.src.models.gemma3n.gemma3n_audio_encoder import Gemma3nAudioEncoder
    from keras_hub.src.models.mobilenetv5.mobilenetv5_builder import (
        convert_arch_def_to_stackwise,
    )

    vis = H.MobileNetV5Backbone(
        **convert_arch_def_to_stackwise([["er_r1_k3_s1_e1_c8"]]),
        num_features=4,
        image_shape=(16, 16, 3),
        use_msfa=False,
    )
    aud = Gemma3nAudioEncoder(
        hidden_size=4,
        input_feat_size=16,
        sscp_conv_channel_size=[2, 4],
        sscp_conv_kernel_size=[(1, 1), (1, 1)],
        sscp_conv_stride_size=[(2, 2), (2, 2)],
        sscp_conv_group_norm_eps=1e-5,
        num_hidden_layers=1,
        rms_norm_eps=1e-6,
        gradient_clipping=1.0,
        residual_weight=0.5,
        num_attention_heads=1,
        attention_chunk_size=2,
        num_attention_context_right=1,
        num_attention_context_left=1,
        attention_logit_cap=50.0,
        conv_kernel_size=3,
        reduction_factor=1,
    )
    return gemma3n(
        v,
        per_layer=30,
        vision_encoder_config=vis.get_config(),
        vision_hidden_size=8,
        vision_vocab_size=8,
        vision_vocab_offset=30,
        vision_soft_tokens_per_image=4,
        image_token_id=28,
        audio_encoder_config=aud.get_config(),
        audio_hidden_size=4,
        audio_vocab_size=12,
        audio_vocab_offset=38,
        audio_soft_tokens_per_image=3,
        audio_token_id=29,
    )


reg(
    "gemma3n_multimodal_causal_lm",
    50,
    "several vocabularies: text table (v), per-layer table (fixed 30), vision "
    "(8 from id 30) and audio (12 from id 38). Only the text table moves. "
    "Every id >= 38 counts as audio, so ids appended at 50.. would be looked "
    "up in the audio table, out of its range.",
)(lambda v: lm(H.Gemma3nCausalLM)(gemma3n_mm(v)))


def gemma4(v, **kw):
    c = dict(
        image_size=16,
        num_layers=2,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=12,
        intermediate_dim=20,
        head_dim=6,
        use_sliding_window_attention=True,
        sliding_window_size=7,
        sliding_window_pattern=2,
    )
    return H.Gemma4Backbone(vocabulary_size=v, **{**c, **kw})


family("gemma4", gemma4, 55, causal_lm=lm(H.Gemma4CausalLM))
reg(
    "gemma4_causal_lm_perlayer",
    52,
    "per-layer table sized by vocab_size_per_layer_input=None -> v",
)(lambda v: lm(H.Gemma4CausalLM)(gemma4(v, hidden_size_per_layer_input=3)))
reg(
    "gemma4_causal_lm_perlayer_number",
    54,
    "two counts of one vocabulary: vocabulary_size and "
    "vocab_size_per_layer_input both move with v",
)(
    lambda v: lm(H.Gemma4CausalLM)(
        gemma4(v, hidden_size_per_layer_input=3, vocab_size_per_layer_input=v)
    )
)
reg("gemma4_causal_lm_moe", 46)(
    lambda v: lm(H.Gemma4CausalLM)(
        gemma4(
            v,
            enable_moe_block=True,
            num_experts=3,
            expert_intermediate_dim=9,
            num_experts_per_token=2,
        )
    )
)


def gemma4_mm(v, **kw):
    vis = H.Gemma4VisionEncoder(
        image_size=16,
        patch_size=4,
        pool_size=2,
        num_layers=1,
        num_heads=2,
        head_dim=4,
        num_key_value_heads=2,
        hidden_dim=8,
        intermediate_dim=14,
        output_dim=12,
    )
    aud = H.Gemma4AudioEncoder(
        input_feat_size=8, hidden_size=8, num_heads=2, num_layers=1, output_dim=12
    )
    return gemma4(v, vision_encoder=vis, audio_encoder=aud, **kw)


reg("gemma4_multimodal_causal_lm", 50)(lambda v: lm(H.Gemma4CausalLM)(gemma4_mm(v)))

# v and v + 7 must both be multiples of num_centroids: 49 and 56 of 7.
# The model also owns a weight token_ordering of shape (v,), float32, holding
# a permutation of token ids.
_ASSIST = (
    "vocabulary must be a multiple of num_centroids=7; has a "
    "non-trainable weight token_ordering of shape (v,) that holds ids"
)
reg("gemma4_assistant_causal_lm", 49, _ASSIST)(
    lambda v: H.Gemma4AssistantCausalLM(
        backbone=gemma4(v, layer_types=["sliding_attention", "full_attention"]),
        preprocessor=None,
        backbone_hidden_size=10,
        num_centroids=7,
        centroid_intermediate_top_k=2,
        use_ordered_embeddings=True,
    )
)
reg("gemma4_assistant_causal_lm_dense", 51, "no ordered embeddings")(
    lambda v: H.Gemma4AssistantCausalLM(
        backbone=gemma4(v, layer_types=["sliding_attention", "full_attention"]),
        preprocessor=None,
        backbone_hidden_size=10,
        num_centroids=7,
        centroid_intermediate_top_k=2,
        use_ordered_embeddings=False,
    )
)


def pali(v, **kw):
    c = dict(
        image_size=16,
        num_layers=1,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=12,
        intermediate_dim=22,
        head_dim=6,
        vit_patch_size=4,
        vit_num_layers=1,
        vit_num_heads=2,
        vit_hidden_dim=8,
        vit_intermediate_dim=14,
    )
    return H.PaliGemmaBackbone(vocabulary_size=v, **{**c, **kw})


family("pali_gemma", pali, 53, causal_lm=lm(H.PaliGemmaCausalLM))
reg("pali_gemma_causal_lm_patches_eq", 16, "16 image patches == v == image_size")(
    lambda v: lm(H.PaliGemmaCausalLM)(pali(v))
)
