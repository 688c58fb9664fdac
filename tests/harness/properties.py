"""How many examples a property is held against."""

from hypothesis import settings


def examples(count: int) -> settings:
    """So many, or a fifth of them with `--hypothesis-profile=quick`."""
    share = settings.get_profile(settings.get_current_profile_name()).max_examples / 100
    return settings(max_examples=max(10, int(share * count)))
