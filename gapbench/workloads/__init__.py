"""What is asked of implementations, of which it knows none: cases, suites, inputs, passes, and what is right."""
