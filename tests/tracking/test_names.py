from rediffuse.tracking.names import safe_name, summary_names


def test_what_evaluate_nests_keeps_its_own_name() -> None:
    metrics = {"fidelity": {"fd": 1.5}, "utility": {"classes": {"a/b": {"f1": 1}}}, "n_samples": 8}
    metrics["likelihood"] = {"bits_per_dim": 3.5, "stderr": 0.25, "method": "ode", "n": 20}
    assert summary_names("evaluate", metrics) == {
        "fidelity/fd": 1.5,
        "utility/classes/a_b/f1": 1.0,
        "evaluate/n_samples": 8.0,
        "likelihood/bits_per_dim": 3.5,
        "likelihood/stderr": 0.25,
        "likelihood/n": 20.0,
    }


def test_a_point_of_a_sweep_is_named_by_its_place_on_the_curve() -> None:
    metrics = {"guidance": {"1.5": {"fd": 2.0}}, "evaluations": {"heun": {"9": {"fd": 1.0}}}, "best_sampler": "heun"}
    assert summary_names("sweep", metrics) == {"sweep/guidance/1.5/fd": 2.0, "sweep/evaluations/heun/9/fd": 1.0}


def test_a_summary_of_training_is_not_named_like_a_curve() -> None:
    assert summary_names("train", {"val_loss": 0.5}) == {"train/final_val_loss": 0.5}


def test_only_numbers_are_summaries() -> None:
    metrics = {"rows": 3, "clean": True, "name": "digits", "shares": [0.5], "none": None, "by": {"reason": 1}}
    assert summary_names("clean", metrics) == {"clean/rows": 3.0, "clean/by/reason": 1.0}


def test_a_safe_name_is_one_that_mlflow_takes() -> None:
    assert safe_name("T-shirt/top (new)") == "T-shirt_top _new_"
    assert safe_name("out.data/a.npy", keep="/") == "out.data/a.npy"
    assert len(safe_name("x" * 300)) == 250
