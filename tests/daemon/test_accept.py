"""Content negotiation between two representations."""

import pytest

from seclude.daemon.accept import choose

OFFERED = ("a/keys", "a/bundle")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "a/keys"),
        ("*/*", "a/keys"),
        ("a/*", "a/keys"),
        ("a/bundle", "a/bundle"),
        ("A/Bundle", "a/bundle"),
        ("a/keys", "a/keys"),
        ("a/bundle, a/keys", "a/keys"),
        ("a/bundle, a/keys;q=0.9", "a/bundle"),
        ("a/bundle;q=0.5,*/*;q=0.1", "a/bundle"),
        ("a/keys;q=0, */*", "a/bundle"),
        ("a/bundle;v=1;q=0.5, a/keys;q=0.4", "a/bundle"),
        ("a/keys;q=9", "a/keys"),
        ("", None),
        ("text/html", None),
        ("a/keys;q=0", None),
        ("a/keys;q=0.000, a/bundle;q=0", None),
        ("*/*;q=0", None),
        ("x/y," * 16 + "a/keys", None),
    ],
)
def test_the_best_liked_offer_is_chosen(accept: str | None, chosen: str | None) -> None:
    assert choose(accept, OFFERED) == chosen
