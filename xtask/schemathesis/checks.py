"""What of the API schemathesis cannot know."""

import schemathesis


# What schemathesis calls a parameter that nobody described.
UNKNOWN = "unknown-property"


@schemathesis.hook
def filter_failure(ctx, failure, case, response):
    """Parameters that the Bridge does not know it passes over: adding one makes nothing wrong."""
    return not any(UNKNOWN in name for name in case.query or {})


@schemathesis.check
def described_requests_are_read(ctx, response, case):
    """A request that is as described is read, whatever is then thought of it.

    Two differences are let pass: JSON Schema counts 3.0 among the integers, and a pattern cannot
    say that k is below n.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code != 400:
        return
    detail = response.json()["detail"]
    unread = ("not the json", "is no number", "not a ", "not protocol versions")
    known = ("floating point", "out of bounds")
    if any(words in detail for words in unread) and not any(words in detail for words in known):
        raise AssertionError(detail)
