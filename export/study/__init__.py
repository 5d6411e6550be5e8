"""Studies: what a publication measured and showed, made anew from one corpus, a file each."""
