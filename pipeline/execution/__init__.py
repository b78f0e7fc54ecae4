"""Runners: the only packages that know where a task runs."""
