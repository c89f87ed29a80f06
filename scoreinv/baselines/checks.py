"""What every baseline asks of its measurements."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.operators.linear import LinearOperator


def check_measurements(
    name: str, operator: LinearOperator, measurements: Tensor, batch: bool = False, events: bool = False
) -> None:
    """Raise ValueError or TypeError, in the name of a method, unless these are finite data of the operator.

    Args:
        name: of the method, for the message.
        operator: whose data they are to be.
        measurements: operator.out_shape, after batch axes if the method takes them.
        batch: whether it does.
        events: whether it takes list mode, an operator that is `partial`.
    """
    if operator.partial and not events:
        raise ValueError(
            f"{name}: {operator} is of events, and leaves the lines without any out; expected a method that counts "
            "them: osem, bsrem or solve with method='map-em', or the histogram of the events"
        )
    if not batch and isinstance(measurements, Tensor) and tuple(measurements.shape) != operator.out_shape:
        raise ValueError(
            f"{name}: measurements have shape {tuple(measurements.shape)}, expected {operator.out_shape} as {operator} "
            "gives them"
        )
    operator.check_measurements(measurements)
    bad = int((~torch.isfinite(measurements)).sum())
    if bad:
        raise ValueError(
            f"{name}: measurements hold {bad} NaN or Inf of {measurements.numel()} values, expected finite data; "
            "interpolate them, or set them to 0 and mask them in the likelihood of `tv` or `solve`"
        )


def check_complex(name: str, operator: LinearOperator) -> None:
    """Raise TypeError, in the name of a method of MRI, unless the operator is complex."""
    if not operator.in_dtype.is_complex or not operator.out_dtype.is_complex:
        raise TypeError(f"{name}: {operator} is real, expected a complex operator such as CartesianMRI; use cgls or tv")
