"""What an editor sees: every class of ours is a class, and a wrong call is marked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import keras_padsafe as kp

x = kp.layers.MaskedMultiHeadAttention(2, 16, name="a", dtype="float16")
x = kp.layers.MaskedGroupQueryAttention(4, 4, 2, sliding_window=3)
x = kp.layers.MaskedAttention(use_scale=True, score_mode="concat")
x = kp.layers.MaskedConv1D(8, 3, padding="causal", activation="relu")
x = kp.layers.MaskedSoftmax(axis=[-1, -2])
x = kp.layers.MaskedGlobalAveragePooling1D(keepdims=True)
x = kp.layers.MaskedGlobalAttentionPooling1D(kernel_regularizer="l2")
x = kp.layers.MaskedSegmentPooling1D(4, mode="max")
x = kp.layers.ExtendableEmbedding(10, 4, pad_id=-1)
x = kp.layers.MaskedAdd(activity_regularizer="l2")
x = kp.losses.MaskedLoss("mse", pad_label=-1)
x = kp.metrics.MaskedMetric("mse")
x = kp.initializers.ConcatenatedRows([])
x = kp.data.SequenceDataset(kp.data.Packing(8, max_segments=4), [[1]], shuffle=True)
kp.layers.MaskedMultiHeadAttention(num_heads="two", key_dim=16)  # wrong
kp.layers.MaskedMultiHeadAttention(2, 16, drop=0.1)  # wrong
kp.layers.MaskedGroupQueryAttention(4, 4)  # wrong
kp.layers.MaskedGroupedQueryAttention(4, 4, 2, dropout="half")  # wrong
kp.layers.MaskedAttention(score_mode="sum")  # wrong
kp.layers.MaskedConv1D(8, 3, padding="some")  # wrong
kp.layers.MaskedSoftmax("last")  # wrong
kp.layers.MaskedGlobalMaxPooling1D(keepdim=True)  # wrong
kp.layers.MaskedGlobalLastPooling1D(keepdims="yes")  # wrong
kp.layers.ExtendableEmbedding(10, "4")  # wrong
kp.layers.KeepMask(nam="keep")  # wrong
kp.layers.NaNMasking(0.0)  # wrong
kp.losses.MaskedLoss("mse", pad_label="x")  # wrong
kp.metrics.MaskedMetric()  # wrong
kp.data.Packing(8, too_long="cut")  # wrong
kp.data.Buckets(boundaries=8)  # wrong
"""


def test_pyright_marks_the_wrong_calls_of_a_script_and_no_other(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath"]
    done = subprocess.run(
        [*command, sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = json.loads(done.stdout)["generalDiagnostics"]
    lines = SCRIPT.splitlines()
    marked = {
        found["range"]["start"]["line"]
        for found in said
        if found["severity"] == "error"
    }
    wrong = {number for number, line in enumerate(lines) if line.endswith("# wrong")}
    assert [lines[number] for number in sorted(marked ^ wrong)] == []
