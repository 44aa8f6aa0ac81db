"""Encoders with a masked language model."""

from .registry import H, clf, family, lm, reg


def bert(v, **kw):
    c = dict(
        num_layers=2,
        num_heads=2,
        hidden_dim=12,
        intermediate_dim=22,
        max_sequence_length=15,
        num_segments=2,
    )
    return H.BertBackbone(vocabulary_size=v, **{**c, **kw})


family(
    "bert",
    bert,
    53,
    masked_lm=lm(H.BertMaskedLM),
    text_classifier=clf(H.BertTextClassifier),
    text_embedder=lm(H.BertTextEmbedder),
)
reg("bert_masked_lm_maxseq_eq", 31, "max_sequence_length == v")(
    lambda v: lm(H.BertMaskedLM)(bert(v, max_sequence_length=31))
)
reg("bert_classifier_numclasses_eq", 29, "num_classes == v")(
    lambda v: clf(H.BertTextClassifier, 29)(bert(v))
)
reg("bert_masked_lm_segments_eq", 13, "num_segments == v")(
    lambda v: lm(H.BertMaskedLM)(bert(v, num_segments=13))
)
reg(
    "bert_masked_lm_all_eq",
    24,
    "hidden, intermediate, max_sequence_length and num_segments all == v",
)(
    lambda v: lm(H.BertMaskedLM)(
        bert(
            v,
            num_layers=1,
            hidden_dim=24,
            intermediate_dim=24,
            max_sequence_length=24,
            num_segments=24,
        )
    )
)
reg("bert_masked_lm_maxseq_eq_grown", 26, "max_sequence_length == v + 7")(
    lambda v: lm(H.BertMaskedLM)(bert(v, max_sequence_length=33))
)


def roberta(v, **kw):
    c = dict(
        num_layers=1,
        num_heads=2,
        hidden_dim=10,
        intermediate_dim=18,
        max_sequence_length=17,
    )
    return H.RobertaBackbone(vocabulary_size=v, **{**c, **kw})


family(
    "roberta",
    roberta,
    51,
    masked_lm=lm(H.RobertaMaskedLM),
    text_classifier=clf(H.RobertaTextClassifier, hidden_dim=9),
)
reg("roberta_masked_lm_ff_eq", 37, "intermediate_dim == v")(
    lambda v: lm(H.RobertaMaskedLM)(roberta(v, intermediate_dim=37))
)


def xlmr(v, **kw):
    c = dict(
        num_layers=1,
        num_heads=2,
        hidden_dim=14,
        intermediate_dim=20,
        max_sequence_length=11,
    )
    return H.XLMRobertaBackbone(vocabulary_size=v, **{**c, **kw})


family(
    "xlm_roberta",
    xlmr,
    61,
    masked_lm=lm(H.XLMRobertaMaskedLM),
    text_classifier=clf(H.XLMRobertaTextClassifier, hidden_dim=8),
    text_embedder=lm(H.XLMRobertaTextEmbedder),
)


def albert(v, **kw):
    c = dict(
        num_layers=2,
        num_heads=2,
        embedding_dim=9,
        hidden_dim=14,
        intermediate_dim=26,
        num_groups=1,
        num_inner_repetitions=1,
        max_sequence_length=19,
    )
    return H.AlbertBackbone(vocabulary_size=v, **{**c, **kw})


family(
    "albert",
    albert,
    47,
    masked_lm=lm(H.AlbertMaskedLM),
    text_classifier=clf(H.AlbertTextClassifier),
)
reg("albert_masked_lm_emb_eq", 16, "embedding_dim == v (square table)")(
    lambda v: lm(H.AlbertMaskedLM)(albert(v, embedding_dim=16))
)


def deberta(v, **kw):
    c = dict(
        num_layers=1,
        num_heads=2,
        hidden_dim=12,
        intermediate_dim=21,
        max_sequence_length=23,
        bucket_size=5,
    )
    return H.DebertaV3Backbone(vocabulary_size=v, **{**c, **kw})


family(
    "deberta_v3",
    deberta,
    55,
    masked_lm=lm(H.DebertaV3MaskedLM),
    text_classifier=clf(H.DebertaV3TextClassifier),
)
reg(
    "deberta_v3_masked_lm_bucket_eq",
    36,
    "relative embedding has 2*bucket_size == v rows",
)(lambda v: lm(H.DebertaV3MaskedLM)(deberta(v, bucket_size=18)))


def distil(v, **kw):
    c = dict(
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=17,
        max_sequence_length=13,
    )
    return H.DistilBertBackbone(vocabulary_size=v, **{**c, **kw})


family(
    "distil_bert",
    distil,
    49,
    masked_lm=lm(H.DistilBertMaskedLM),
    text_classifier=clf(H.DistilBertTextClassifier, hidden_dim=7),
)


def electra(v, **kw):
    c = dict(
        num_layers=1,
        num_heads=2,
        hidden_dim=12,
        embedding_dim=9,
        intermediate_dim=19,
        max_sequence_length=21,
    )
    return H.ElectraBackbone(vocab_size=v, **{**c, **kw})


reg("electra_backbone", 57, "argument is spelled vocab_size")(electra)
reg("electra_backbone_emb_eq", 27, "embedding_dim == v")(
    lambda v: electra(v, embedding_dim=27)
)


def fnet(v, **kw):
    c = dict(
        num_layers=2,
        hidden_dim=11,
        intermediate_dim=15,
        max_sequence_length=14,
        num_segments=4,
    )
    return H.FNetBackbone(vocabulary_size=v, **{**c, **kw})


family(
    "f_net",
    fnet,
    45,
    masked_lm=lm(H.FNetMaskedLM),
    text_classifier=clf(H.FNetTextClassifier),
)
reg("f_net_masked_lm_hidden_eq", 25, "hidden_dim == v")(
    lambda v: lm(H.FNetMaskedLM)(fnet(v, hidden_dim=25))
)


def roformer(v, **kw):
    c = dict(num_layers=1, num_heads=2, hidden_dim=12, intermediate_dim=18, head_size=6)
    return H.RoformerV2Backbone(vocabulary_size=v, **{**c, **kw})


family(
    "roformer_v2",
    roformer,
    43,
    masked_lm=lm(H.RoformerV2MaskedLM),
    text_classifier=clf(H.RoformerV2TextClassifier, hidden_dim=5),
)


def esm(v, **kw):
    c = dict(
        num_layers=1,
        num_heads=2,
        hidden_dim=12,
        intermediate_dim=20,
        max_sequence_length=16,
    )
    return H.ESMBackbone(vocabulary_size=v, **{**c, **kw})


family(
    "esm",
    esm,
    33,
    masked_plm=lm(H.ESMMaskedPLM),
    protein_classifier=clf(H.ESMProteinClassifier, hidden_dim=5),
)
reg(
    "esm_masked_plm_absolute_maxseq_eq",
    35,
    "absolute positions, max_sequence_length == v",
)(
    lambda v: lm(H.ESMMaskedPLM)(
        esm(
            v,
            position_embedding_type="absolute",
            max_sequence_length=35,
            use_pre_layer_norm=True,
        )
    )
)


@reg("xlnet_backbone", 59)
def xlnet(v, **kw):
    c = dict(num_layers=1, num_heads=2, hidden_dim=10, intermediate_dim=18)
    return H.XLNetBackbone(vocabulary_size=v, **{**c, **kw})
