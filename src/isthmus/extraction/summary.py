"""The summary of an extraction, as `extract.py` prints it. Imports no torch."""

from typing import Any


def summary_lines(result: dict[str, Any]) -> list[str]:
    """The summary of an extraction, as lines."""
    lines = []
    for layer in result["layers"]:
        head = f"layer {layer['layer']}: {layer['num_units']} units"
        if "num_teacher" in layer:
            head += (
                f"; of the teacher's {layer['num_teacher']}: {layer['num_found']} found, "
                f"{layer['num_missing']} missing, {layer['num_excess']} in excess"
            )
        if layer.get("max_distance_in") is not None:
            head += (
                f"; cosine distances up to {layer['max_distance_in']:.1e} (in), "
                f"{layer['max_distance_out']:.1e} (out)"
            )
        lines.append(head)
        lines.append(
            f"  of the students' {layer['num_student_units']} units, "
            f"{layer['num_in_no_cluster']} are in no cluster that was kept "
            f"({layer['num_silent']} of them do nothing)"
        )
    mse = (
        f"mean squared error {result['mse']:.1e}, {result['mse_over_variance']:.1e} of the variance"
    )
    lines.append(f"{mse}; largest difference {result['max_difference']:.1e}")
    if "barrier_mse" in result:
        loss = result["barrier_loss"]
        loss_text = "" if loss is None else f", of the loss {loss:.1e} nats"
        lines.append(
            f"barrier to the teacher: of that error {result['barrier_mse']:.1e}{loss_text}"
        )
    return lines
