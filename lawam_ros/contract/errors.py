"""The three ways a run ends early, each with the exit code users script against."""

EXIT_DONE = 0
EXIT_CRITERION_MISSED = 1
EXIT_USER_MISTAKE = 2
EXIT_ENVIRONMENT_LACKS = 3


class LawamError(Exception):
    """A failure that is explained in one sentence: what was expected, what came, what to do."""

    exit_code = EXIT_CRITERION_MISSED


class UserMistake(LawamError):
    """Wrong argument, file or setting: the user can mend it."""

    exit_code = EXIT_USER_MISTAKE


class EnvironmentLacks(LawamError):
    """The machine misses a package, a renderer or a device."""

    exit_code = EXIT_ENVIRONMENT_LACKS
