"""How long threads of OpenMP wait for more work before they sleep.

By default libgomp's spin 300,000 times, on the cores that the projections' own threads want next. A fifteenth of that
reaches from one operation of a network to the next and leaves the projections alone. The library reads this when torch
loads it: a program that imports torch first has its own say, in its environment.
"""

import os

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "20000"
