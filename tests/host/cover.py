"""A few cases of a product of parameters."""


def cover(count, *parameters):
    """As many cases, each parameter's values in turn: all of them come, where there are enough cases.

    A parameter begins one further on where those before it have come round, so that others meet.
    """
    return [tuple(values[(case + case // len(values)) % len(values)] for values in parameters) for case in range(count)]
