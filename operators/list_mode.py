"""PET event by event: the rows of a PET operator that events picked, one each."""

from __future__ import annotations

import copy
from functools import cached_property

import torch
from torch import Tensor

from scoreinv.operators.geometry import Volume
from scoreinv.operators.line_transform import EventTransform
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.lines import check_events
from scoreinv.operators.pet import PET

_EVENTS = 1 << 20  # at a time; the ends of their lines take 56 bytes each


class ListModePET(LinearOperator):
    """PET in list mode: activity (z, y, x) -> expected counts (events,) in the bin of each event.

    Row e is the row of `operator` of the bin that event e fell into. What was not counted enters through `sensitivity`,
    that of the whole operator: EM in list mode is `osem(ListModePET(operator, events), ones)`, the same as on the
    histogram of the events (Parra and Barrett 1998, IEEE TMI 17:228). Methods that know a likelihood of the rows alone
    do not see it: `solve` takes events with guidance `MAPEM` only.

    Args:
        operator: of the sinogram that the events would be sorted into. Line integrals are numba's, on the CPU or a GPU
            where the data are, whatever its backend.
        events: (events, 3) whole numbers: radial bin, view and plane; with time of flight (events, 4), its bin last.

    Raises:
        TypeError: if events are not whole numbers.
        ValueError: for another shape, or a bin outside the sinogram.
    """

    volume: Volume
    counts = True
    partial = True

    def __init__(self, operator: PET, events: Tensor) -> None:
        check_events("ListModePET", events, operator.out_shape)
        super().__init__(operator.in_shape, (len(events),), device=operator.device)
        self.operator, self.volume, self.events = operator, operator.volume, events
        self._share = 1
        self._sensitivity_on: dict[torch.device, Tensor] = {}  # shared with all subsets

    @cached_property
    def _factors(self) -> Tensor:
        radial, view, plane = self.events[:, :3].cpu().long().unbind(1)
        return self.operator.factors[radial, view, plane]

    def sensitivity(self, device: torch.device | str | None = None) -> Tensor:
        """(z, y, x): that of the whole operator, computed once on a device; of a subset of events its share."""
        device = self._place(device)
        if device not in self._sensitivity_on:
            self._sensitivity_on[device] = self.operator.sensitivity(device)
        return self._sensitivity_on[device] / self._share

    def subset(self, i: int, n: int) -> ListModePET:
        """The operator of events i, i + n, i + 2n, ..., with 1 / n of the sensitivity."""
        if not 0 <= i < n <= max(1, len(self.events)):
            raise ValueError(f"ListModePET: subset {i} of {n}; expected 0 <= i < n <= {len(self.events)} events")
        part = copy.copy(self)
        part._factors = self._factors[i::n]
        part.events = self.events[i::n]
        part.out_shape = (len(part.events),)
        part._share = self._share * n
        part._norm = None
        return part

    def _apply(self, x: Tensor) -> Tensor:
        blurred = x if self.operator.blur is None else self.operator.blur.forward(x)
        parts = [self._transform(begin).forward(blurred) for begin in range(0, len(self.events), _EVENTS)]
        return self._factors.to(x.device) * torch.cat(parts, -1) if parts else x.new_zeros(*x.shape[:-3], 0)

    def _adjoint(self, y: Tensor) -> Tensor:
        scaled = self._factors.to(y.device) * y
        x = y.new_zeros(*y.shape[:-1], *self.in_shape)
        for begin in range(0, len(self.events), _EVENTS):
            x += self._transform(begin).adjoint(scaled[..., begin : begin + _EVENTS])
        return x if self.operator.blur is None else self.operator.blur.adjoint(x)

    def _transform(self, begin: int) -> EventTransform:
        """The line integrals of the events from `begin` on."""
        bins = tuple(column.numpy() for column in self.events[begin : begin + _EVENTS].cpu().long().unbind(1))
        return EventTransform(self.operator.lines, self.volume, bins, self.operator.tof, self.device)
