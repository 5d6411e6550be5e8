"""Studies: reproduce a publication's measurements from one's own corpora."""
