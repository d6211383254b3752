"""The git repository that is measured, and checkouts of its commits."""
