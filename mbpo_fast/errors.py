"""Errors that a user can act on: the command line prints them as one line and exits with 2."""


class UsageError(Exception):
    """A mistake in what the user asked for: what, where, expected and got, in one line."""


class MissingExtraError(UsageError):
    """An optional dependency is absent; the message says which pip command brings it."""


def missing_extra(package: str, extra: str) -> MissingExtraError:
    """The error for an absent optional package, naming the extra of `mbpo_fast` that installs it."""
    return MissingExtraError(f'{package} is not installed: pip install "mbpo_fast[{extra}]"')
