"""torch.compile made ready for the CPU, so that each worker only loads what it compiles.

Importing Inductor and probing the C++ compiler takes about 4 s (15 s the first time on a machine, for its
precompiled headers). Only for the CPU: on other devices the compiler would initialise the device before the fork.
"""

import torch
import torch._inductor.config

torch._inductor.config.compile_threads = 1  # a pool of compiler processes would not survive the fork
torch.set_num_threads(1)  # neither would OpenMP's threads
torch.compile(lambda x: x.sum(1), fullgraph=True)(torch.ones(8, 64))
torch.compiler.reset()
