"""What the guard says about a step that it undid."""

from keras_padsafe.audit.audit_report import AuditReport

_NAMED = 3


def listed(names: list[str] | tuple[str, ...]) -> str:
    """The first names, and how many there are."""
    shown = ", ".join(f"`{name}`" for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def lost_before(names: list[str]) -> str:
    """Says that training begins with weights that are lost already."""
    were = "were" if len(names) > 1 else "was"
    return (
        f"{listed(names)} {were} not finite when training began: there is no good "
        "value to go back to. Load weights from before that."
    )


def what_happened(step: str, loss_is_finite: bool, names: tuple[str, ...]) -> str:
    """Says what was not finite in a step."""
    lost = f"the update would have made {listed(names)} infinite or NaN"
    if not loss_is_finite:
        return f"{step}: the loss is not finite" + (f", and {lost}" if names else "")
    return f"{step}: the loss is finite, but {lost}"


def what_was_found(
    report: AuditReport | None, problem: str | None, loss_is_finite: bool
) -> str:
    """Says what the replay of the batch found.

    Args:
        report: What it found.
        problem: Why there was no replay, if there was none.
        loss_is_finite: Whether the loss was finite.
    """
    if report is None:
        return f"The batch could not be replayed: {problem}"
    if len(report):
        return "\n".join(["In this batch:", *(f"  {finding}" for finding in report)])
    if loss_is_finite:
        return (
            "Replayed eagerly, every value and gradient of this batch is finite: the "
            "update itself overflowed (a smaller learning rate or `clipnorm` helps), "
            "or only the compiled program does."
        )
    return (
        "Replayed eagerly, every value of this batch is finite: only the compiled "
        "program overflows. Compile with `jit_compile=False` to compare."
    )
