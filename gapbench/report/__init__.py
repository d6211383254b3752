"""Reports on stored runs, for people: they read what the store gives and never import torch.

`text` and `diff` are for the terminal and for CI. Pages to browse: `site` says which files there are, `html` renders
them, `page_data` is what their scripts (``templates/js``) work on, `quality` judges a run, `loaded_run` chooses what to
compare it with, `redaction` takes out what pages must not tell, and `views` lists the charts.
"""
