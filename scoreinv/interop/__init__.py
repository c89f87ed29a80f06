"""Bridges to other libraries: their scanners, scans and denoisers here, ours there.

Nothing else of the package knows of them, and a library is imported when a bridge to it is first crossed.
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
