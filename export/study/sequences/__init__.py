"""The study of sound that is continued frame by frame: its runs, figures and page."""
