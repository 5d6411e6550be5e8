"""The panel: a page in a browser that shows and plays the preset; its server is a process that nothing waits for."""
