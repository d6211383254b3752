"""Describe, read and lock this machine: devices, their state during measurements, the environment, locks.

Used by `measuring`, `profiling`, and the commands that start them.
"""
