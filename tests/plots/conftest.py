import pytest

from isthmus.plots import style


@pytest.fixture(autouse=True)
def themed():
    """Functions that draw are called in the theme, as `Drawing.figure` does."""
    with style.look():
        yield
