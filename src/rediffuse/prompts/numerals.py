"""Whole numbers in English words."""

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

GREATEST = 999_999
"""The last number that has words here."""


def in_words(number: int, joint: str = " ") -> str:
    """A number from 0 to GREATEST in words: "one hundred five".

    Args:
        joint: what stands before the tens and ones of a greater number; " and " makes "one hundred and five".
    """
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f" {_SMALL[ones]}" if ones else "")
    unit, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    above, rest = divmod(number, unit)
    # Only the last tens and ones have the joint: "one thousand two hundred and five".
    between = joint if rest < 100 else " "
    return f"{in_words(above)} {name}" + (f"{between}{in_words(rest, joint)}" if rest else "")
