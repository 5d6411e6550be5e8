"""The loops family: networks that continue in the manner of loops, slice by slice."""
