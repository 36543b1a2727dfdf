"""Plain words for what cleaning finds and does."""

FOUND = {
    "refused": "The source could not hand over the file.",
    "empty": "The file has no bytes.",
    "unknown_format": "The bytes are no image of a known format.",
    "damaged": "The image is cut off or broken.",
    "too_many_pixels": "More pixels than clean.decode.max_pixels; refused before it was decoded.",
    "unbounded": "Pixel values without a fixed range.",
    "sixteen_bit": "16 bits a channel, which clean.decode rejects.",
    "floating_point": "Floating-point pixels, which clean.decode rejects.",
    "cmyk": "Colours for print, which clean.decode rejects.",
    "palette": "Indexed colours, which clean.decode rejects.",
    "transparency": "Transparent pixels, which clean.decode rejects.",
    "rotation": "Turned by its EXIF tag, which clean.decode rejects.",
    "animation": "More than one frame, which clean.decode rejects.",
    "missing_label": "No label, where others have one.",
    "missing_caption": "No caption, where others have one.",
    "name_collision": "Its id differs from another one only in case.",
    "blank": "Hardly any difference between its brightest and its darkest pixel.",
    "dark": "Almost black.",
    "bright": "Almost white.",
    "low_information": "Hardly any variety in its grey levels.",
    "size_outlier": "Far larger or smaller than the rest.",
    "aspect_outlier": "Far wider or narrower than the rest.",
    "duplicate": "The same pixels as another image.",
    "near_duplicate": "Almost the same picture as another image.",
    "class_outlier": "Unlike the other images of its class.",
    "label_suspect": "A classifier that did not see it thinks its label unlikely.",
}
"""By the names of FAULTS and CHECKS, what such an image is."""

DONE = {
    "sixteen_bit": "16 bits a channel, divided by 257",
    "floating_point": "floating-point pixels, 0 to 1 made 0 to 255",
    "cmyk": "colours for print, made RGB",
    "palette": "indexed colours, looked up",
    "transparency": "transparent pixels, laid on the background",
    "rotation": "turned upright by its EXIF tag",
    "animation": "its first frame taken",
}
"""By the names of CONVERSIONS, what decoding did."""


def printable(text: str) -> str:
    """The text with what can't be printed (line ends, control and direction marks) as escapes such as `\\n`."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def shortened(text: str, length: int) -> str:
    """The text's end, where it is too long: of a path the end says most."""
    return text if len(text) <= length else "…" + text[1 - length :]


def percent(part: float, whole: float) -> str:
    """A share in percent, with the decimals it needs: 100 %, 12.3 %, 0.04 %."""
    if not whole:
        return "0 %"
    share = 100 * part / whole
    if share in (0, 100):
        return f"{share:.0f} %"
    return f"{share:.1f} %" if 0.1 <= share < 99.95 else f"{share:.2g} %" if share < 0.1 else f"{share:.4g} %"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 image, 1,200 images."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
