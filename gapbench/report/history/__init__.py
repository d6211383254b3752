"""How times went over the stored runs: for the terminal (`text`) and as the site's page (`page`)."""
