"""The search behind `find_nonfinite`: forward, then the loss, then backward."""

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.nonfinite.backward import Backward
from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.births import spoilt
from keras_padsafe.audit.nonfinite.cause import bad_weight
from keras_padsafe.audit.nonfinite.forward import Forward
from keras_padsafe.audit.nonfinite.lossy import label_findings, loss_finding
from keras_padsafe.audit.run.bad_values import all_finite, floats_in
from keras_padsafe.audit.run.look import Look
from keras_padsafe.audit.run.model_runs import what_was_said
from keras_padsafe.audit.run.watch import tensors_in


def search(run: BatchRun) -> tuple[list[Finding], list[str]]:
    """Where values or gradients are lost, and what could not be looked at."""
    look = Look(settle=True)
    try:
        run.build(look)
        look = Look(settle=True)
        outputs, loss = run(look)
    except Exception:
        raised = Forward(run, look).raised()
        if raised is None:
            raise
        return [raised], []
    labels = label_findings(run, outputs)
    first = Forward(run, look)
    found, forward = first.that_count()
    if found:
        return [*found, *labels], []
    meant = forward is not first
    if forward.births or meant:
        outputs, loss = run()
    if spoilt(outputs, None, allow_infinities=meant):
        # Each alone does no harm, so that all of them together do; or infinities that
        # were meant are all that a row has.
        told = forward if forward.births else first
        return [*told.findings(told.births[:1]), *labels], []
    if loss is not None and not all_finite(loss):
        return [*labels, loss_finding(run, outputs)], []
    found, missing = [], []
    try:
        found = Backward(run).findings()
    except Exception as error:  # Whatever code of the user's cannot differentiate.
        said = what_was_said(error)
        missing.append(f"the gradients: the model has none ({said})")
    # A kernel may make zeros of the NaN of a weight, but none of its gradient.
    by_weights = [b for b in forward.births if bad_weight(b.variables, run.trainable)]
    if found and by_weights:
        found = forward.findings(by_weights)
    if any(0 in tensor.shape for tensor in tensors_in(run.x)):
        missing.append("the values: the batch has no rows, or its rows are empty")
    if forward.births and loss is None and not floats_in(outputs):
        place = forward.births[0].place
        missing.append(
            f"whether the non-finite values in '{place}' reach an output: no output "
            "of the model holds floats. Pass y and a loss, or the model without its "
            "argmax"
        )
    return [*labels, *found], missing
