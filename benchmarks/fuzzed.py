"""Requests that schemathesis makes of a server's schema, right ones and wrong ones: none may be a fault."""

from __future__ import annotations

from collections import Counter
from typing import Any

STRICT = ("positive", "negative")


def fuzzed(address: str, cases: int, headers: dict[str, str] | None = None) -> Counter[int]:
    """Sends so many cases of each kind to each route, and returns how many answers had which status.

    An answer must also have a status, a kind and a shape that the schema lists.

    Raises:
        AssertionError: an answer has a status from 500 on.
        schemathesis.Failure: an answer is none that the schema lists.
    """
    import schemathesis

    schema = schemathesis.openapi.from_url(f"{address}openapi.json")
    found: Counter[int] = Counter()
    for operation in (result.ok() for result in schema.get_all_operations()):
        has_body = bool(list(operation.body))
        for kind in STRICT if has_body else STRICT[:1]:
            _send(operation, kind, cases if has_body else max(1, cases // 20), headers or {}, found)
    return found


def _send(operation: Any, kind: str, cases: int, headers: dict[str, str], found: Counter[int]) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import GenerationMode
    from schemathesis.checks import negative_data_rejection, positive_data_acceptance

    @given(case=operation.as_strategy(generation_mode=GenerationMode(kind)))
    @settings(
        max_examples=cases, deadline=None, derandomize=True, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def send(case: Any) -> None:
        answer = case.call(headers=headers)
        found[answer.status_code] += 1
        assert answer.status_code < 500, (case, answer.text)
        # No schema says what an image is, and in a form all is text: 1 is true, and left out is null.
        unsure = [positive_data_acceptance, negative_data_rejection]
        case.validate_response(answer, excluded_checks=unsure)

    send()
