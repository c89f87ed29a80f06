"""Bridges to other libraries: their scanners, scans and denoisers here, ours there.

A library is imported when a bridge to it is first crossed. What tells TIGRE of a scan lies with the operators, one of
which projects by it.
"""

from scoreinv.interop.deepinv import (
    from_deepinv,
    import_deepinv,
    likelihood_from_deepinv,
    prior_from_deepinv,
    prior_to_deepinv,
    to_deepinv,
)
from scoreinv.operators.tigre import from_tigre, to_tigre

__all__ = [
    "from_deepinv",
    "from_tigre",
    "import_deepinv",
    "likelihood_from_deepinv",
    "prior_from_deepinv",
    "prior_to_deepinv",
    "to_deepinv",
    "to_tigre",
]
