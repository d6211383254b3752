"""The git repository under test, and checkouts of its commits."""
