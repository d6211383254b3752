"""What is asked of an implementation: cases and suites of them, their inputs, passes, and what is right.

Knows no implementation. Used by everything above.
"""
