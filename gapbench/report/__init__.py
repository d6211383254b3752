"""Reports on stored runs, for people: they read what the store gives and never import torch.

`text` and `diff` are for the terminal and for CI. Pages to browse: `site` says which files there are, `html` renders
them, `which` and `columns` are the data that their scripts (``templates/js``) work on, `trust` judges a run, `stored`
finds what to compare it with, `private` takes out what pages must not tell, and `views` lists the charts.
"""
