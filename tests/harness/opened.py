"""Images opened by the config's input section, and refused."""

from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import open_image
from denoise_daisy.images.input import Input


def opened(path: Path | str, **asked: Any) -> Any:
    """The image at a path."""
    return open_image(Input(path=str(path), **asked))


def refused(path: Path | str, **asked: Any) -> str:
    """Why there is none."""
    with pytest.raises(InputError) as caught:
        opened(path, **asked)
    said = str(caught.value)
    assert "Expected" in said
    assert "\n" not in said
    return said
