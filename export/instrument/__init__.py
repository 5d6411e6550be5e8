"""An instrument's demo: the keys of its kit, the performance that shows it, and its loudness and peaks."""
