"""Loops: the only place that knows the order of acting, fitting, imagining, learning and saving."""
