"""One self-contained page about a run: Table 1 and its figures, drawn here, without scripts and outside files."""
