"""Export of the kind partials: view for searches, and player for nn~; the rest is as for spectra."""
