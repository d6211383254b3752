"""Report on stored runs, without torch.

`text` and `diff` are for the terminal and CI. For HTML, `site` writes the files, `html` renders the pages, `page_data`
is the data of their scripts (``templates/js``), `quality` checks a run, `loaded_run` chooses its baseline, `redaction`
removes private details, and `views` lists the charts.
"""
