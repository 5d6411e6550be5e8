"""The only code that touches sound files, sound devices and effects."""
