"""The sequence family: recurrent networks that predict sound frame by frame, after GRUV."""
