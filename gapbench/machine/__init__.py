"""What this machine is and how it is: devices, their state while something is measured, the environment, locks.

Used by `measuring`, `profiling` and whatever starts them.
"""
