"""Turns events and a model into sound, without torch.

Lower never imports higher: errors units events files <- card dsp pitch <- model controls envelope <- engines preset
<- voices <- instrument <- rack <- render <- the command line.
"""
