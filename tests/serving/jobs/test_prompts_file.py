"""A file of prompts is read as it was meant, or refused with the place and what is allowed there."""

import pytest

from rediffuse.serving.jobs.prompts_file import PromptsFileError, read_prompts
from rediffuse.serving.request import ImageRequest


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells_become_requests_with_or_without_a_mark_and_empty_ones_are_not_given(mark: bytes, end: str) -> None:
    text = end.join(
        [
            "seed,prompt , count,guidance,share,to_seed",
            '-7,"cat, dog",,1.5,,',
            "",
            '9223372036854775807," two\nlines ",3,2,0.25,8',
            ",naïve,,,,",
        ]
    )
    read = read_prompts(mark + text.encode(), "rows.csv")
    assert read.requests == (
        ImageRequest(seed=-7, prompt="cat, dog", guidance=1.5),
        ImageRequest(seed=2**63 - 1, prompt="two\nlines", count=3, guidance=2.0, share=0.25, to_seed=8),
        ImageRequest(prompt="naïve"),
    )
    assert read.lines == (2, 4, 6)
    assert read.place(1, "seed") == "rows.csv, line 4, column seed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "rows.csv is empty; it needs a header"),
        (b"prompt,seed\n", "rows.csv has no row below its header"),
        (
            b"promt\ncat\n",
            "line 1: no column is called 'promt' (did you mean prompt?); allowed are prompt, label",
        ),
        (b"prompt;seed\ncat;1\n", "no column is called 'prompt;seed'"),
        (b"seed,seed\n1,1\n", "line 1: the column seed is there twice"),
        (b"prompt,seed\ncat, dog,1\n", "line 2: 3 cells; the header has 2 columns (a cell with a comma"),
        (b'prompt\n"cat\n', "line 2: not CSV: unexpected end of data"),
        (b"prompt\ncat\n\xff\n", "line 3: byte 11 is not UTF-8"),
        ("prompt\ncat\n".encode("utf-16"), "line 1: byte 0 is not UTF-8"),
        (b"prompt\n" + b"x" * 200_000, "line 2: not CSV: field larger than field limit"),
        (b'prompt,seed\n"a\nb",1\n\ncat,1.0\n', "line 5, column seed: '1.0' is no whole number of 64 bits"),
        ("seed\n١\n".encode(), "line 2, column seed: '١' is no whole number"),
        (b"seed\n1_0\n", "line 2, column seed: '1_0' is no whole number"),
        (b"seed\n9223372036854775808\n", "line 2, column seed: "),
        (b"seed\n" + b"9" * 5000 + b"\n", "line 2, column seed: '999999999999999999999999999999999999999…' is no"),
        (b"guidance\nnan\n", "line 2, column guidance: 'nan' is no number"),
        (b"guidance\n1e999\n", "line 2, column guidance: "),
        (b"steps\n-3\n", "line 2, column steps: "),
        (b"seed\n1\n2\n3\n4\n", "line 5: at most 3 rows are allowed"),
    ],
)
def test_what_can_not_be_used_is_told_with_its_place_in_one_line(content: bytes, message: str) -> None:
    with pytest.raises(PromptsFileError) as refused:
        read_prompts(content, "rows.csv", most_rows=3)
    told = str(refused.value)
    assert message in told
    assert told.startswith("rows.csv")
    assert "\n" not in told
    assert len(told) < 300
