"""Refinement beside other programs: running them, and the bars that ours has to clear."""
