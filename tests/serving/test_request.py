"""Each field of a request means what it says or is refused by its name; what means the same is the same image."""

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import pytest

from rediffuse.prompts import Term, Vocabulary
from rediffuse.serving.record import Record, record_of
from rediffuse.serving.request import ALLOWED, ImageRequest, parsed, wanted
from rediffuse.serving.wanted import NotAllowedError, Origin, Settings, Wanted

OWN = Settings("dpmpp_2m", 20, 1.0, 1.0)


@dataclass(frozen=True)
class Knowing:
    """A model that knows words and draws nothing."""

    classes: tuple[str, ...] = ("cat", "dog", "owl")
    settings: Settings = OWN
    identity: str = "a" * 64

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.classes, {"cat": ("kitten",)} if self.classes else {}, ())

    def label_at(self, index: int) -> str | None:
        return self.classes[index % 3]

    def check(self, settings: Settings) -> None:
        if settings.sampler == "magic":
            raise NotAllowedError("sampler", "sampler is 'magic'; ddim is allowed")


MODEL = Knowing()


def asked(model: Knowing = MODEL, most: int = 64, **fields: Any) -> list[Wanted]:
    return wanted(parsed(fields), model, most)  # type: ignore[arg-type]


def test_what_is_left_out_is_as_the_pipeline_has_it() -> None:
    assert asked(seed=3, count=2, index=4) == [
        Wanted((Term("dog"),), Origin(3, 4), OWN),
        Wanted((Term("owl"),), Origin(3, 5), OWN),
    ]
    assert asked(Knowing(classes=()), seed=3, index=200_000) == [Wanted((), Origin(3, 200_000), OWN)]
    # An empty prompt is a prompt: of nothing.
    assert asked(seed=3, prompt="") == [Wanted((), Origin(3), OWN)]


def test_a_label_and_a_prompt_of_the_same_class_are_the_same_image() -> None:
    requests = ({"label": "cat"}, {"prompt": "cat"}, {"prompt": "kitten"}, {"prompt": " Cat "})
    for more in ({}, {"seed": 5}, {"count": 3, "guidance": 2}, {"to_seed": 4, "count": 2}):
        first, *others = (asked(**fields, **more) for fields in requests)
        assert all(other == first for other in others)
    assert asked(prompt="cat --seed 5") == asked(label="cat", seed=5)
    assert asked(label="cat") != asked(label="dog")


def test_a_seed_that_nobody_gave_follows_from_what_is_drawn() -> None:
    for fields, text in (
        ({"prompt": "Kitten"}, b"cat"),
        ({"prompt": "{cat|owl}", "steps": 3}, b"cat, owl"),
        ({}, b""),
        ({"prompt": ""}, b""),
    ):
        seed = int(hashlib.sha256(text).hexdigest()[:8], 16)
        assert {each.origin.seed for each in asked(**fields)} == {seed}
        assert 0 <= seed < 2**32


def test_variants_come_one_after_the_other_each_with_the_same_noises() -> None:
    images = asked(prompt="{cat|dog}", seed=1, index=2, count=2)
    assert [(each.terms[0].label, each.origin) for each in images] == [
        ("cat", Origin(1, 2)),
        ("cat", Origin(1, 3)),
        ("dog", Origin(1, 2)),
        ("dog", Origin(1, 3)),
    ]


def test_a_walk_goes_from_end_to_end_of_one_image_or_to_a_point_of_several() -> None:
    walk = asked(seed=1, to_seed=2, index=4, count=5)
    assert {(each.origin, each.towards, each.terms) for each in walk} == {
        (Origin(1, 4), Origin(2, 4), (Term("dog"),)),
    }
    assert [each.share for each in walk] == [0.0, 0.25, 0.5, 0.75, 1.0]
    points = asked(seed=1, to_seed=2, share=0.3, index=4, count=2)
    assert [(each.origin, each.towards, each.share) for each in points] == [
        (Origin(1, 4), Origin(2, 4), 0.3),
        (Origin(1, 5), Origin(2, 5), 0.3),
    ]


def test_settings_that_are_equal_are_written_alike() -> None:
    plain = asked(seed=1, guidance=0, temperature=2)
    assert plain == asked(seed=1, guidance=-0.0, temperature=2.0)
    assert repr(plain) == repr(asked(seed=1, guidance=-0.0, temperature=2.0))
    assert plain[0].settings == Settings("dpmpp_2m", 20, 0.0, 2.0)
    assert asked(seed=1, steps=5, sampler="ddim")[0].settings == Settings("ddim", 5, 1.0, 1.0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prompt": "", "seed": -(2**63)},
        {"prompt": "cat and (dog:1.5) --no (owl:0.5)", "count": 3, "index": 2**31 - 3, "seed": 2**63 - 1},
        {"to_seed": 0, "count": 3, "label": "owl", "guidance": 0.1, "temperature": 0},
        {"to_seed": 0, "share": 0, "sampler": "ddim", "steps": 7},
    ],
)
def test_the_record_of_an_image_asks_for_that_image(fields: dict[str, Any]) -> None:
    for each in asked(**fields):
        record = record_of(MODEL, each)  # type: ignore[arg-type]
        assert wanted(record.request(), MODEL, 1) == [each]  # type: ignore[arg-type]
        assert record_of(dataclasses.replace(MODEL, identity="b" * 64), each) == dataclasses.replace(  # type: ignore[arg-type]
            record, model="b" * 64
        )
    assert isinstance(record, Record)


NAN, INF = float("nan"), float("inf")
WHOLE = (NAN, INF, 1.5, 1.0, "1", True, [1], 10**400)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("prompt", (5, True, [], "cat" * 700, "\ud800")),
        ("label", (5, b"cat", "c" * 2001)),
        ("seed", (*WHOLE, 2**63, -(2**63) - 1)),
        ("to_seed", (*WHOLE, 2**63, -(2**63) - 1)),
        ("index", (*WHOLE, -1, 2**31, None)),
        ("count", (*WHOLE, 0, -1, None)),
        ("steps", (*WHOLE, 0, -5, 10_001)),
        ("sampler", (5, {})),
        ("guidance", (NAN, INF, -INF, -1, 100.5, "2", True)),
        ("temperature", (NAN, INF, -1, 10.1, "2", False)),
        ("share", (NAN, INF, -0.1, 1.1, "0.5")),
        ("model", (3,)),
    ],
)
def test_what_a_field_may_not_be_is_refused_with_its_name_and_what_is_allowed(
    field: str, values: tuple[Any, ...]
) -> None:
    for value in values:
        with pytest.raises(NotAllowedError) as refused:
            parsed({field: value})
        assert refused.value.field == field
        message = str(refused.value)
        assert message.startswith(f"{field} is ")
        assert message.endswith(f"; {ALLOWED[field]} is allowed")
        assert len(message.splitlines()) == 1
        assert len(message) < 200


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"label": "fish"}, "label", "label is 'fish'; the classes are cat, dog, owl"),
        ({"label": "Cat"}, "label", "label is 'Cat'; the classes are cat, dog, owl"),
        ({"prompt": "cat", "label": "cat"}, "label", "label is 'cat', but there is a prompt, too; one is allowed"),
        ({"prompt": "fish"}, "prompt", None),
        ({"prompt": "cat --seed 1", "seed": 2}, "seed", "seed is 2, but the prompt says --seed 1; use one"),
        ({"count": 65}, "count", "count is 65; at most 64 images are allowed"),
        ({"count": 2**31 - 1}, "count", "count is 2147483647; at most 64 images are allowed"),
        (
            {"count": 33, "prompt": "{cat|dog}"},
            "count",
            "count is 33 for each of 2 variants of the prompt; at most 64 images are allowed",
        ),
        ({"share": 0.5}, "share", "share is 0.5, but there is no to_seed to walk to; leave it out"),
        ({"to_seed": 1}, "count", "count is 1; a walk to to_seed needs 2 or more, or a share"),
        (
            {"index": 2**31 - 2, "count": 3},
            "index",
            "index is 2147483646 for 3 images; 2^31 - 1 is the last one",
        ),
        ({"sampler": "magic"}, "sampler", "sampler is 'magic'; ddim is allowed"),
        (
            {"stepz": 5},
            "stepz",
            "'stepz' is no field of a request; it may have prompt, label, seed, index, count, steps, sampler, "
            "guidance, temperature, to_seed, share, model",
        ),
    ],
)
def test_what_the_fields_may_not_be_together_names_the_field_to_change(
    fields: dict[str, Any], field: str, message: str | None
) -> None:
    with pytest.raises(NotAllowedError) as refused:
        asked(**fields)
    assert refused.value.field == field
    assert message is None or str(refused.value) == message
    assert len(str(refused.value).splitlines()) == 1


def test_a_model_without_classes_says_so() -> None:
    with pytest.raises(NotAllowedError, match="label is 'cat'; this model has no classes"):
        asked(Knowing(classes=()), label="cat")
    with pytest.raises(NotAllowedError) as refused:
        asked(Knowing(classes=()), prompt="cat")
    assert refused.value.field == "prompt"


def test_what_no_object_is_and_what_every_field_means_are_told() -> None:
    with pytest.raises(NotAllowedError, match=r"the request is \[1\]; an object with the fields prompt, label"):
        parsed([1])  # type: ignore[arg-type]
    assert ALLOWED.keys() == ImageRequest.model_fields.keys()
    for name, described in ImageRequest.model_json_schema()["properties"].items():
        assert described["description"].endswith(ALLOWED[name])
