"""Commands of `mbpo-fast`, one module each, loaded when they are called, and what they share."""
