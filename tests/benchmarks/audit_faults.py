"""How often the audits name a planted fault, and whether they leave the healthy alone.

    KERAS_BACKEND=jax python -m tests.benchmarks.audit_faults
    python -m tests.benchmarks.audit_faults --write

The first prints the rows of one backend, the second runs all three and writes
`audit_faults.md`. Each model has one fault; the first finding has to name its code, its
layer and, where the fault has some, its rows. The models are those of the tests.
"""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
PAGE = Path(__file__).with_name("audit_faults.md")
Row = tuple[str, str, str, str]
Planted = tuple[str, str, str]


def nonfinite() -> Iterator[Row]:
    """`find_nonfinite` on each model of `faults.py`."""
    import tests.audit.more_faults  # noqa: F401 (adds to FAULTS)
    from keras_padsafe.audit import find_nonfinite
    from tests.audit.faults import FAULTS

    for fault in FAULTS:
        _fresh()
        model, x, y, loss, weight = (*fault.make(), None, None, None)[:5]
        report = find_nonfinite(
            model, x, y, loss, sample_weight=weight, training=fault.training
        )
        first = report.findings[0] if report.findings else None
        right = first is not None and fault.rows in (None, first.evidence.get("rows"))
        yield "non-finite", fault.name, fault.code, _verdict(fault, first, right)


def masks() -> Iterator[Row]:
    """`trace_masks` on each model of `mask_faults.py`."""
    import keras

    from keras_padsafe.audit import trace_masks
    from tests.audit.mask_faults import IDS, MASK_FAULTS

    for name, fault in MASK_FAULTS.items():
        _fresh()
        keras.utils.clear_session(free_memory=False)  # operations are named by number
        ids = keras.Input((4,), dtype="int32")
        report = trace_masks(keras.Model(ids, fault.build(ids)), IDS)
        first = report.findings[0] if report.findings else None
        yield "mask", name, fault.code, _verdict(fault, first)


def padding() -> Iterator[Row]:
    """`check_padding` on each leaking model of `padding_zoo.py`."""
    from keras_padsafe.audit import check_padding
    from tests.audit.padding_zoo import LEAKY

    for name, make in LEAKY.items():
        _fresh()
        leak = make()
        report = check_padding(leak.model, leak.batch, leak.pad_id)
        errors = [f for f in report.findings if f.severity == "error"]
        yield "padding", name, leak.code, _verdict(leak, errors[0] if errors else None)


def healthy() -> Iterator[Row]:
    """Every audit that fits on each healthy model."""
    from keras_padsafe.audit import check_padding, find_nonfinite, trace_masks
    from tests.audit.healthy import HEALTHY
    from tests.audit.padding_zoo import CLEAN

    for name, make_run in HEALTHY.items():
        _fresh()
        model, x, y, loss = (*make_run(), None, None)[:4]
        report = find_nonfinite(model, x, y, loss, training=True)
        yield "healthy", name, "", _alarms(report)
    for name, make in CLEAN.items():
        _fresh()
        case = make()
        reports = [
            check_padding(case.model, case.batch, case.pad_id),
            trace_masks(case.model, case.batch),
        ]
        if "empty" not in name and "holes" not in name:  # Stock pooling loses those.
            reports.append(find_nonfinite(case.model, case.batch))
        yield "healthy", name, "", "; ".join(map(_alarms, reports)).strip("; ")


def rows() -> Iterator[Row]:
    """(kind, what was planted, its code, what was said), as soon as it is known."""
    for kind in (nonfinite, masks, padding, healthy):
        yield from kind()


def _fresh() -> None:
    import keras

    keras.utils.set_random_seed(0)


def _verdict(expected: Any, first: Any, rows_right: bool = True) -> str:
    if first is None:
        return "nothing"
    if (first.code, first.place) != (expected.code, expected.place):
        return f"{first.code} at {first.place}"
    return "" if rows_right else "other rows"


def _alarms(report: Any) -> str:
    found = [f for f in report.findings if f.severity != "note"]
    return ", ".join(f"{f.code} at {f.place}" for f in found)


def write() -> None:
    """Runs every backend in a process of its own and writes the page."""
    command = [sys.executable, "-m", "tests.benchmarks.audit_faults"]
    printed = {
        backend: subprocess.run(
            command,
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for backend in BACKENDS
    }
    PAGE.write_text(page(printed))


def page(printed: dict[str, str]) -> str:
    """The page of what each backend printed; one may lack a model, as of float64."""
    import keras

    said: dict[Planted, dict[str, str]] = {}
    for backend, text in printed.items():
        for line in filter(lambda line: line.startswith("|"), text.splitlines()):
            kind, name, code, what = (c.strip() for c in line.split("|")[1:-1])
            said.setdefault((kind, name, code), {})[backend] = what or "right"
    kinds = ("non-finite", "mask", "padding", "healthy")
    planted = sorted(said, key=lambda one: kinds.index(one[0]))
    shares = []
    for kind in kinds:
        of_kind = [said[one] for one in planted if one[0] == kind]
        known = [[one[b] for one in of_kind if b in one] for b in BACKENDS]
        right = [f"{part.count('right')}/{len(part)}" for part in known]
        shares.append(f"| {kind} | {' | '.join(right)} |")
    listed = [
        f"| {' | '.join((*one, *(said[one].get(b, '-') for b in BACKENDS)))} |"
        for one in planted
    ]
    names = " | ".join(BACKENDS.values())
    return (
        f"# What the audits find, on Keras {keras.__version__}\n\n"
        "Each model has one planted fault, or none. *Right*: the first finding names "
        "the code, the layer and the rows; of a healthy model, that there is no error "
        "and no warning. To measure again, on all three backends:\n\n"
        "    python -m tests.benchmarks.audit_faults --write\n\n"
        f"| right | {names} |\n|---|---|---|---|\n" + "\n".join(shares) + "\n\n"
        f"| kind | model | code | {names} |\n|---|---|---|---|---|---|\n"
        + "\n".join(listed)
        + "\n"
    )


def main() -> None:
    """Prints the rows of one backend."""
    warnings.simplefilter("ignore")
    for row in rows():
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    write() if "--write" in sys.argv else main()
