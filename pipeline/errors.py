"""Every error this package raises on purpose.

* PipelineError
  - ConfigError      the recipe, the profile or an input is wrong; nothing has run          (exit 2)
  - DataError        something on disk breaks the contract it promised                      (exit 1)
  - StageError       a stage failed on some shards; the finished ones are kept              (exit 1)
  - RunnerError      workers were lost more often than the profile's retries allow          (exit 1)
  - LockedError      another build holds the root                                           (exit 1)

A message says what was found, where, what was expected and what to do next, and fits on a screen.
"""


class PipelineError(Exception):
    """Base class: catch this to catch everything raised on purpose."""


class ConfigError(PipelineError):
    """What was asked for cannot be done; nothing has run."""


class DataError(PipelineError):
    """Data breaks the contract that its schema, manifest or ledger promises."""


class StageError(PipelineError):
    """A stage failed on one or more shards; the other shards are finished and kept.

    `details` holds the tracebacks, which belong into the log and not on the screen.
    """

    def __init__(self, message: str, details: str = ""):
        super().__init__(message)
        self.details = details

    def __reduce__(self) -> tuple[type["StageError"], tuple[str, str]]:
        return StageError, (str(self), self.details)


class RunnerError(PipelineError):
    """Workers died, or the cluster went away, more often than the profile's `retries` allow."""


class LockedError(PipelineError):
    """Another live build holds this root."""
