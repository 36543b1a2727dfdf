"""One whole report, drawn once; and drawing that costs nothing, where a picture's pixels don't matter."""

import io
from collections.abc import Callable

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from rediffuse import charts
from rediffuse.evaluation.report.page import Report
from tests.evaluation.report.constructed import HOSTILE, report


@pytest.fixture(scope="session")
def whole() -> Report:
    """All blocks, and class names that are markup somewhere."""
    return report(HOSTILE)


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn on, so that a wrong table is seen, but not painted."""
    target = io.BytesIO()
    Image.new("RGBA", (1, 1)).save(target, "PNG")

    def only_draw(draw: Callable[..., None], inches: tuple[float, float], palette: charts.Palette) -> bytes:
        if palette is charts.LIGHT:
            figure = Figure(figsize=inches)
            FigureCanvasAgg(figure)
            draw(figure, palette)
        return target.getvalue()

    monkeypatch.setattr(charts, "_png", only_draw)
