"""How long threads of OpenMP wait for more work before they sleep. Imported before torch, which loads libgomp.

By default they spin for milliseconds, on the cores that the projections' own threads want next. Some ten microseconds
reach from one operation of a network to the next and leave the projections alone.
"""

import os

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "20000"
