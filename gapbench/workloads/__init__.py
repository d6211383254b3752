"""The tasks of implementations: cases, suites, inputs, passes, and expected outputs. Imports no implementation."""
