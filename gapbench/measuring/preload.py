"""What every worker starts with: torch, and the measuring code. Nothing here computes or touches a device."""

import gapbench.measuring.worker  # noqa: F401
