"""A canvas in world coordinates: enough to draw a task with NumPy alone."""

import numpy as np

INK = (40, 44, 52)
PAPER = (250, 250, 247)
BLUE = (66, 115, 179)
RED = (204, 78, 70)
GREEN = (82, 150, 96)
SAND = (222, 205, 160)


class Canvas:
    """A picture of the rectangle from `low` to `high`, fitted into `height` by `width` pixels undistorted.

    Shapes are given in world units and painted one over the other, with edges smoothed over one pixel.
    """

    def __init__(self, width: int, height: int, low: tuple[float, float], high: tuple[float, float]):
        low, high = np.asarray(low, float), np.asarray(high, float)
        self.scale = min(width / (high - low)[0], height / (high - low)[1])
        center = (low + high) / 2
        self.x = center[0] + (np.arange(width) + 0.5 - width / 2)[None, :] / self.scale
        self.y = center[1] - (np.arange(height) + 0.5 - height / 2)[:, None] / self.scale
        self.pixels = np.full((height, width, 3), PAPER, float)

    def disc(self, center, radius: float, color=INK) -> None:
        """Paints a filled circle."""
        self._paint(np.hypot(self.x - center[0], self.y - center[1]) - radius, color)

    def ring(self, center, radius: float, thickness: float, color=INK) -> None:
        """Paints a circle's outline."""
        self._paint(np.abs(np.hypot(self.x - center[0], self.y - center[1]) - radius) - thickness / 2, color)

    def segment(self, start, end, thickness: float, color=INK) -> None:
        """Paints a line with round ends."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        along = end - start
        length = max(along @ along, 1e-12)
        t = np.clip(((self.x - start[0]) * along[0] + (self.y - start[1]) * along[1]) / length, 0.0, 1.0)
        distance = np.hypot(self.x - start[0] - t * along[0], self.y - start[1] - t * along[1])
        self._paint(distance - thickness / 2, color)

    def rectangle(self, low, high, color=INK) -> None:
        """Paints a filled, axis-aligned rectangle."""
        outside_x = np.maximum(low[0] - self.x, self.x - high[0])
        outside_y = np.maximum(low[1] - self.y, self.y - high[1])
        self._paint(np.maximum(outside_x, outside_y), color)

    def image(self) -> np.ndarray:
        """Returns the picture as uint8 `[height, width, 3]`."""
        return np.round(self.pixels).astype(np.uint8)

    def _paint(self, distance: np.ndarray, color) -> None:
        cover = np.clip(0.5 - distance * self.scale, 0.0, 1.0)[..., None]
        self.pixels = (1 - cover) * self.pixels + cover * np.asarray(color, float)
