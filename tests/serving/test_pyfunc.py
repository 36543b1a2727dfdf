"""The model in MLflow's form gives the pixels of the pipeline, and refuses what no model can draw."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations
from PIL import Image

from rediffuse.errors import UserError
from rediffuse.params import Section
from rediffuse.serving import package
from rediffuse.serving.package import write_package
from rediffuse.serving.record import read_record
from rediffuse.workspace import Workspace
from stages.sample import sample
from tests.serving.tiny import CLASSES, tiny, trained


class Words(Section):
    """The section `prompts`."""

    synonyms: dict[str, list[str]]
    frames: list[str]


WORDS = Words(synonyms={"cat": ["kitten"]}, frames=["a photo of"])


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """What the stage `sample` draws, and the folder `model` that the registry would have, of this checkout's code."""
    params = tiny()
    workspace = trained(Workspace.at(tmp_path_factory.mktemp("pipeline")), params, CLASSES)
    sample(params, workspace)
    write_package(workspace.root / "model", workspace, params.sample, params.runtime, WORDS, None)
    return workspace


@pytest.fixture(scope="module")
def model(packed: Workspace) -> mlflow.pyfunc.PyFuncModel:
    # Not to be imported from the folder: this process has rediffuse already.
    before = sys.path.copy()
    yield mlflow.pyfunc.load_model(str(packed.root / "model"))
    sys.path[:] = before


def drawn(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as opened:
        return np.array(opened)


def test_a_table_of_indices_is_the_images_of_the_pipeline(packed: Workspace, model: mlflow.pyfunc.PyFuncModel) -> None:
    images, labels = np.load(packed.sampled_images)[:, 0], np.load(packed.sampled_labels)
    names = [CLASSES[label] for label in labels]
    # By label, by prompt, and as the pipeline chooses: of every second row a column is empty.
    table = pd.DataFrame(
        {
            "seed": 3,
            "index": range(6),
            "label": [names[0], None, names[2], None, None, None],
            "prompt": [None, names[1], None, names[3], None, None],
        }
    )
    answer = model.predict(table)
    assert list(answer.columns) == ["png", "prompt", "seed", "index"]
    assert np.array_equal(np.stack([drawn(png) for png in answer["png"]]), images)
    assert answer["prompt"].tolist() == names
    assert (answer["seed"].tolist(), answer["index"].tolist()) == ([3] * 6, list(range(6)))
    # One row of six images, in parameters alone; the same bytes.
    told = model.predict(pd.DataFrame([{}]), params={"seed": 3, "count": 6})
    assert told["png"].tolist() == answer["png"].tolist()
    records = [read_record(png) for png in told["png"]]
    assert [(record.prompt, record.index, record.seed) for record in records] == [
        (name, index, 3) for index, name in enumerate(names)
    ]


def test_a_row_speaks_before_the_parameters(model: mlflow.pyfunc.PyFuncModel) -> None:
    table = pd.DataFrame({"label": ["owl", None], "count": [None, 2], "to_seed": [None, 2**53], "share": [None, 0.25]})
    params = {"prompt": "Kitten", "seed": 9, "count": 1, "sampler": "ddim", "steps": 3, "guidance": 2, "temperature": 0}
    records = [read_record(png) for png in model.predict(table, params=params)["png"]]
    assert [(record.prompt, record.index, record.to_seed, record.share) for record in records] == [
        ("owl", 0, None, 0.0),
        ("cat", 0, 2**53, 0.25),
        ("cat", 1, 2**53, 0.25),
    ]
    assert {(each.seed, each.sampler, each.steps, each.guidance, each.temperature) for each in records} == {
        (9, "ddim", 3, 2.0, 0.0)
    }
    assert model.predict(pd.DataFrame({"seed": pd.Series([], dtype="int64")}))["png"].tolist() == []


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"dataframe_records": [{"label": "fish"}]}, "label is 'fish'; the classes are cat, dog, owl"),
    ({"dataframe_records": [{"label": 3}]}, "label is 3; the name of a class is allowed"),
    ({"dataframe_records": [{"prompt": "fish"}]}, "fish"),
    ({"dataframe_records": [{"seed": 1}, {"seed": 1.5}]}, "row 1: seed is 1.5; a whole number from"),
    ({"dataframe_records": [{"seed": 2**63}]}, "seed is 9223372036854775808; a whole number from"),
    ({"dataframe_records": [{"seed": -(2**70)}]}, "seed is -1180591620717411303424; a whole number"),
    # Pandas has rounded this one.
    ({"dataframe_records": [{"seed": 2**60 + 1}, {}]}, "row 0: seed is 1.152921504606847e.18; a whole number"),
    ({"dataframe_records": [{"seed": "1"}]}, "seed is '1'; a whole number"),
    ({"dataframe_records": [{"seed": [1, 2]}]}, r"seed is \[1, 2\]; a whole number"),
    ({"dataframe_records": [{"index": -1}]}, "index is -1; a whole number from 0"),
    ({"dataframe_records": [{"count": 10_001}]}, "count is 10001; at most 10000 images"),
    ({"dataframe_records": [{"count": 5001}] * 2}, "count adds up to more than 10000 images by row 1"),
    ({"dataframe_records": [{"to_seed": 1, "share": True}]}, "share is True; a number from 0 to 1"),
    ({"dataframe_records": [{"to_seed": 1}]}, "count is 1; a walk to to_seed needs 2"),
    ({"dataframe_records": [{}], "params": {"steps": -1}}, "steps is -1; a whole number from 1"),
    ({"dataframe_records": [{}], "params": {"steps": 1.5}}, "'steps'.*Can not safely convert"),
    ({"dataframe_records": [{}], "params": {"seed": 2**63}}, "seed is 9223372036854775808; a whole number"),
    ({"dataframe_records": [{}], "params": {"sampler": "magic"}}, "sampler is 'magic'; this model can be asked for"),
    ({"dataframe_records": [{}], "params": {"guidance": float("nan")}}, "guidance is nan; a number from 0 to 100"),
    ({"dataframe_records": [{}], "params": {"temperature": -1.0}}, "temperature is -1.0; a number from 0 to 10"),
    ({"dataframe_records": [{}], "params": {"count": 0}}, "count is 0; a whole number from 1"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_a_server_answers_400_with_the_field_and_what_is_allowed(
    model: mlflow.pyfunc.PyFuncModel, body: dict[str, Any], message: str
) -> None:
    with pytest.raises(MlflowException, match=message) as refused:
        invocations(json.dumps(body), "application/json", model, model.metadata.get_input_schema())
    assert refused.value.get_http_status_code() == 400


def test_the_folder_holds_no_pickle_and_the_signature_what_the_model_does_by_itself(
    packed: Workspace, model: mlflow.pyfunc.PyFuncModel
) -> None:
    names = [path.name for path in (packed.root / "model").rglob("*")]
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin"))]
    signature = model.metadata.signature
    assert [(each.name, each.required) for each in signature.inputs.inputs] == [
        (name, False) for name in ("prompt", "label", "seed", "index", "count", "to_seed", "share")
    ]
    assert {each.name: each.default for each in signature.params.params} == {
        "prompt": None,
        "label": None,
        "seed": None,
        "count": 1,
        "steps": 2,
        "sampler": "dpmpp_2m",
        "guidance": 1.0,
        "temperature": 1.0,
    }
    kept = json.loads((packed.root / "model" / "artifacts" / package.SETTINGS).read_bytes())
    assert kept["prompts"] == {"synonyms": {"cat": ["kitten"]}, "frames": ["a photo of"]}
    assert kept["unguided"] is None


def test_words_for_a_class_that_the_model_has_not_are_refused_before_it_is_packed(packed: Workspace) -> None:
    words = Words(synonyms={"bird": ["owlet"]}, frames=[])
    params = tiny()
    with pytest.raises(UserError, match=r"params\.yaml: prompts\.synonyms names the class 'bird'; the classes are cat"):
        write_package(packed.root / "other", packed, params.sample, params.runtime, words)
    assert not (packed.root / "other").exists()


def test_what_the_packed_code_imports_is_pinned() -> None:
    import grimp

    distributions = {"PIL": "pillow", "ruamel": "ruamel.yaml"}
    graph = grimp.build_graph("rediffuse", include_external_packages=True, cache_dir=None)
    found, waiting = set(), {"rediffuse.serving.pyfunc"}
    while waiting:
        for name in graph.find_modules_directly_imported_by(waiting.pop()):
            if name not in found:
                found.add(name)
                if name.startswith("rediffuse"):
                    waiting.add(name)
    outside = {name for name in found if not name.startswith("rediffuse")} - sys.stdlib_module_names
    assert {distributions.get(name, name) for name in outside} - {"pydantic_core"} <= set(package.REQUIREMENTS)


@pytest.mark.slow
def test_mlflow_serves_the_bytes_of_the_pipeline_and_refuses_what_the_model_does_not_know(
    packed: Workspace, model: mlflow.pyfunc.PyFuncModel
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Of the folder's own code: where it runs, no other rediffuse is found.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(packed.root / "model")),
            *("--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        ],
        cwd=packed.root,
        env=environment,
        process_group=0,
    )
    try:
        _await(f"http://127.0.0.1:{port}/ping", server)
        rows = [{"seed": 3, "index": index} for index in range(6)]
        status, answer = _post(port, {"dataframe_records": rows})
        assert status == 200
        images = [base64.b64decode(each["png"]) for each in answer["predictions"]]
        assert np.array_equal(np.stack([drawn(png) for png in images]), np.load(packed.sampled_images)[:, 0])
        # And of another process the same bytes.
        assert images == model.predict(pd.DataFrame(rows))["png"].tolist()
        status, answer = _post(port, {"dataframe_records": [{}], "params": {"seed": 3, "count": 6}})
        assert [base64.b64decode(each["png"]) for each in answer["predictions"]] == images
        for body, message in ((REFUSED[0]), (REFUSED[4])):
            status, answer = _post(port, body)
            assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
            assert message in answer["message"]
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.25)
    raise AssertionError("the server does not answer")


def _post(port: int, body: dict[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)
