"""Whatever needs a gradient, or prepares data for one."""
