"""Reports on stored runs, for people: they read what the store gives and never import torch."""
