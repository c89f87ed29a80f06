"""Random coincidences from delayed ones."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.operators.lines import LinesOfResponse, check_events

_ITERATIONS = 50
_CONVERGED = 1e-4


def crystal_rates(lines: LinesOfResponse, delays: Tensor) -> Tensor:
    """The rate of single photons in every crystal, most likely to have given these delayed coincidences.

    Randoms between two crystals are Poisson with the product of their rates r as mean. The likelihood is greatest where
    r_i sum_j r_j = n_i, over the crystals j that share a line with i, with n_i the delays that i took part in. So the
    few counts of single lines are pooled into those of crystals, and `lines.products(rates)`, of these lines or of
    others of the same scanner and time, are randoms with little noise. r <- sqrt(r n / sum_j r_j) is repeated until
    nothing changes by 1e-4.

    Args:
        lines: of a sinogram of span 1; the larger, the less noise.
        delays: (events, 3) whole numbers, radial bin, view and plane.

    Returns:
        (rings, crystals) float32; 0 for crystals without delays.

    Raises:
        TypeError: if delays are not whole numbers.
        ValueError: with a span, whose planes do not tell the rings; for bins the lines do not have; or without delays.

    Casey and Hoffman 1986, J. Comput. Assist. Tomogr. 10:845; from delays by maximum likelihood: Panin et al. 2008,
    IEEE Nucl. Sci. Symp. Conf. Rec., 5212.
    """
    if lines.sinogram.span != 1:
        raise ValueError(f"crystal_rates: span is {lines.sinogram.span}, expected lines of span 1")
    check_events("crystal_rates", delays, lines.shape)
    if len(delays) == 0:
        raise ValueError("crystal_rates: there are no delays, expected at least one; randoms stay unknown without")
    rings, crystals = lines.scanner.rings, lines.scanner.crystals
    first, second = (torch.from_numpy(ends) for ends in lines.crystals)
    pairs = torch.tensor([plane[0] for plane in lines.sinogram.planes(lines.scanner)])
    radial, view, plane = delays.long().unbind(1)
    counts = torch.zeros(rings * crystals, dtype=torch.float64)
    for ring, crystal in ((pairs[plane, 0], first), (pairs[plane, 1], second)):
        at = ring * crystals + crystal[radial, view]
        counts += torch.bincount(at, minlength=rings * crystals)
    counts = counts.reshape(rings, crystals)

    across = torch.zeros(crystals, crystals, dtype=torch.float64)
    across[first.flatten(), second.flatten()] = 1
    across = across + across.T
    along = torch.zeros(rings, rings, dtype=torch.float64)
    along[pairs[:, 0], pairs[:, 1]] = 1

    rates = counts / counts.sum().sqrt()
    for _ in range(_ITERATIONS):
        partners = along @ rates @ across
        new = torch.where(partners > 0, (rates * counts / torch.where(partners > 0, partners, 1.0)).sqrt(), 0.0)
        done = float((new - rates).abs().max()) <= _CONVERGED * float(new.max())
        rates = new
        if done:
            break
    return rates.float()
