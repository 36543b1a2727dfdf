"""The data's card: what the data decides, so that no later stage asks for it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from rediffuse import files
from rediffuse.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a cleaned data set is.

    Args:
        modality: "image".
        shape: channels, height, width of every example.
        classes: class names, position = label; empty: unlabelled.
        count: examples.
        class_counts: examples of each class, by name.
        mean: of all pixels scaled to [-1, 1] (x = byte / 127.5 - 1).
        std: likewise; the σ_data of EDM's preconditioning.
        source: what `prepare.source` named.
        origin, licence, retrieved: where the data comes from, under which licence, when; empty where unknown.
        digest: SHA-256 over the pixels in order, then the labels (int64, little-endian, -1: none), then the shape.
    """

    modality: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    count: int
    class_counts: dict[str, int]
    mean: float
    std: float
    source: str
    digest: str
    origin: str = ""
    licence: str = ""
    retrieved: str = ""

    @classmethod
    def read(cls, path: Path) -> "Card":
        """The card in a JSON file.

        Raises:
            UserError: the file is missing, or is no card of this version.
        """
        try:
            content = files.read_json(path)
            channels, height, width = content.pop("shape")
            return cls(shape=(channels, height, width), classes=tuple(content.pop("classes")), **content)
        except FileNotFoundError:
            raise UserError(f"{path} is missing; run the stage clean first") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not a data card ({error}); run the stage clean again") from None

    def write(self, path: Path) -> None:
        """Write the card as JSON, the same bytes for the same card."""
        files.write_json(path, asdict(self))
