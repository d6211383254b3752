"""Report on stored runs, without torch: `text` and `diff` for the terminal and CI, `site` and `html` for pages."""
