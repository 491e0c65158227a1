"""Both backends of the anatomy scorer: rtmlib on toy graphs, and tiny ViTPose with its detector."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)

from tests.tiny_rewards import CPU
from trainers.errors import AtelierError
from trainers.preferences import scorers
from trainers.preferences.rewards import rtmlib_backend, vitpose_backend
from trainers.preferences.rewards.rtmlib_backend import DWPOSE, RTMW, Rtmlib, graph_in
from trainers.preferences.rewards.vitpose_backend import VitPose, cut, padded, peaks

# --------------------------------------------------------------------------- rtmlib, with toy graphs

BOX = (64.0, 32.0, 512.0, 608.0)  # of the detector's square of 640


def save(
    path: Path, side: tuple[int, int], nodes: list[Any], outputs: list[tuple[str, list[int]]], constants: dict[str, Any]
) -> Path:
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, *side])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def detector(path: Path) -> Path:
    """A box that is as sure as the picture is bright."""
    nodes = [
        helper.make_node("ReduceMax", ["picture"], ["bright"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["bright", "one"], ["sure"]),
        helper.make_node("Mul", ["sure", "share"], ["score"]),
        helper.make_node("Concat", ["box", "score"], ["dets"], axis=2),
    ]
    constants = {
        "one": np.array([1, 1, 1]),
        "share": np.float32(1 / 255),
        "box": np.array([[BOX]], np.float32),
    }
    return save(path, (640, 640), nodes, [("dets", [1, 1, 5])], constants)


def pose(path: Path, points: int = 133) -> Path:
    """Every point lies where the picture is brightest, twice as finely counted; the score is that brightness."""
    height, width = 384, 288
    nodes = []
    for axis, axes in (("x", [1, 2]), ("y", [1, 3])):
        nodes += [
            helper.make_node("ReduceMax", ["picture"], [f"best_{axis}"], axes=axes, keepdims=0),
            helper.make_node("Reshape", [f"best_{axis}", f"column_{axis}"], [f"tall_{axis}"]),
            helper.make_node("Tile", [f"tall_{axis}", "twice"], [f"twin_{axis}"]),
            helper.make_node("Reshape", [f"twin_{axis}", f"row_{axis}"], [f"one_{axis}"]),
            helper.make_node("Expand", [f"one_{axis}", f"all_{axis}"], [f"simcc_{axis}"]),
        ]
    constants: dict[str, Any] = {"twice": np.array([1, 1, 2])}
    for axis, length in (("x", width), ("y", height)):
        constants |= {
            f"column_{axis}": np.array([1, length, 1]),
            f"row_{axis}": np.array([1, 1, 2 * length]),
            f"all_{axis}": np.array([1, points, 2 * length]),
        }
    outputs = [("simcc_x", [1, points, 2 * width]), ("simcc_y", [1, points, 2 * height])]
    return save(path, (height, width), nodes, outputs, constants)


def dotted(size: tuple[int, int], dot: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size)
    image.paste((255, 255, 255), (dot[0] - 3, dot[1] - 3, dot[0] + 4, dot[1] + 4))
    return image


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    return {"detector": detector(folder / "yolox.onnx"), "pose": pose(folder / "rtmw.onnx")}


@pytest.mark.parametrize(
    ("size", "dot"), [((640, 640), (200, 300)), ((1280, 1280), (500, 700)), ((400, 800), (200, 500))]
)
def test_points_come_back_in_pixels_of_the_picture(graphs: dict[str, Path], size: Any, dot: Any) -> None:
    """Through the package's own detector and cut: letter box, box, affine cut, and all the way back."""
    points, scores = Rtmlib(graphs["detector"], graphs["pose"], CPU)(dotted(size, dot))
    assert points.shape == (1, 133, 2) and scores.shape == (1, 133)
    assert np.abs(points - dot).max() < 6 * max(size) / 640
    assert scores.min() > 2


def test_picture_without_people_is_not_taken_for_one(graphs: dict[str, Path]) -> None:
    scorer = scorers.open_scorer("anatomy", graphs, CPU)
    assert scorer.score([Image.new("RGB", (300, 200))], ["1girl"]) == [None]
    assert scorer.name == "anatomy"


def test_calibration_follows_the_graph(graphs: dict[str, Path], tmp_path: Path) -> None:
    other = {**graphs, "pose": pose(tmp_path / "dw-ll_ucoco_384.onnx")}
    assert rtmlib_backend.load(graphs, CPU, "1")._calibration is RTMW
    assert rtmlib_backend.load(other, CPU, "1")._calibration is DWPOSE


def test_published_archives_are_opened_and_leave_nothing_behind(graphs: dict[str, Path], tmp_path: Path) -> None:
    zipped = {}
    for name, graph in graphs.items():
        zipped[name] = tmp_path / f"{graph.stem}.zip"
        with zipfile.ZipFile(zipped[name], "w") as archive:
            archive.write(graph, "20231122/end2end.onnx")
    image = dotted((640, 640), (200, 300))
    expected = rtmlib_backend.load(graphs, CPU, "1")._find(image)
    found = rtmlib_backend.load(zipped, CPU, "1")._find(image)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    with graph_in(zipped["pose"]) as place:
        assert place.is_file()
    assert not place.exists()


@pytest.mark.parametrize("change", ["torn graph", "torn archive", "archive of something else", "another graph"])
def test_other_files_are_refused(change: str, graphs: dict[str, Path], tmp_path: Path) -> None:
    files = dict(graphs)
    if change == "another graph":
        files["pose"] = pose(tmp_path / "body.onnx", points=17)
    elif change == "archive of something else":
        files["pose"] = tmp_path / "pose.zip"
        with zipfile.ZipFile(files["pose"], "w") as archive:
            archive.writestr("readme.txt", "nothing")
    else:
        files["pose"] = tmp_path / ("pose.zip" if change == "torn archive" else "pose.onnx")
        files["pose"].write_bytes(b"nothing")
    with pytest.raises(AtelierError):
        rtmlib_backend.load(files, CPU, "1").score([dotted((640, 640), (200, 300))], ["1girl"])


def test_lack_of_memory_is_told_to_the_caller(graphs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    error = type("RuntimeException", (Exception,), {"__module__": "onnxruntime.capi"})
    scorer = rtmlib_backend.load(graphs, CPU, "1")

    def full(image: Any) -> None:
        raise error("Failed to allocate memory for requested buffer of size 9")

    monkeypatch.setattr(scorer._find, "_detector", full)
    with pytest.raises(MemoryError):
        scorer.score([Image.new("RGB", (30, 30))], [""])


# --------------------------------------------------------------------------- ViTPose


def detr_folder(folder: Path, sure: float) -> Path:
    """A tiny RT-DETR to which everything is a person, or nothing is."""
    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    model = RTDetrForObjectDetection(
        RTDetrConfig(
            backbone_config=backbone,
            encoder_hidden_dim=16,
            encoder_in_channels=[8, 8, 8],
            encoder_ffn_dim=16,
            encoder_attention_heads=2,
            d_model=16,
            num_queries=6,
            decoder_in_channels=[16, 16, 16],
            decoder_ffn_dim=16,
            decoder_layers=1,
            decoder_attention_heads=2,
            id2label={0: "bicycle", 1: "person"},
            label2id={"bicycle": 0, "person": 1},
        )
    )
    with torch.no_grad():
        head = model.model.decoder.class_embed[-1]
        head.weight.zero_()
        head.bias.copy_(torch.tensor([-9.0, sure]))
    model.save_pretrained(folder)
    return folder


def vitpose_folder(folder: Path, experts: int = 1) -> Path:
    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        image_size=(64, 48), patch_size=(16, 16), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        mlp_ratio=2, num_experts=experts, part_features=8 if experts > 1 else 0, out_indices=[2],
    )  # fmt: skip
    model = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17, use_simple_decoder=True))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vitpose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("vitpose")
    return {"detector": detr_folder(folder / "detr", 5.0), "pose": vitpose_folder(folder / "pose")}


def noise(size: tuple[int, int] = (90, 120)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


@pytest.mark.parametrize("experts", [1, 6])
def test_vitpose_finds_as_many_people_as_the_detector(vitpose: dict[str, Path], tmp_path: Path, experts: int) -> None:
    scorer = vitpose_backend.load({**vitpose, "pose": vitpose_folder(tmp_path / "pose", experts)}, CPU, "1")
    points, scores = scorer._find(noise())
    assert points.shape == (6, 17, 2) and scores.shape == (6, 17)
    assert scorer.name == "anatomy-vitpose"


def test_vitpose_has_no_score_for_a_picture_without_people(vitpose: dict[str, Path], tmp_path: Path) -> None:
    files = {**vitpose, "detector": detr_folder(tmp_path / "detr", -5.0)}
    assert scorers.open_scorer("anatomy-vitpose", files, CPU).score([noise()], ["1girl"]) == [None]


def test_boxes_of_the_detector_are_in_pixels(vitpose: dict[str, Path]) -> None:
    find = vitpose_backend.load(vitpose, CPU, "1")._find
    assert isinstance(find, VitPose)
    image = noise((200, 100))
    with torch.no_grad():
        square = torch.from_numpy(np.array(image.resize((640, 640), Image.Resampling.BILINEAR)) / 255).float()
        x, y, width, height = find._detector(square.permute(2, 0, 1)[None]).pred_boxes[0, 0].tolist()
    left, top, right, bottom = find.boxes(image)[0]
    assert (left, right) == (
        pytest.approx(200 * (x - width / 2), abs=1e-3),
        pytest.approx(200 * (x + width / 2), abs=1e-3),
    )
    assert (top, bottom) == (
        pytest.approx(100 * (y - height / 2), abs=1e-3),
        pytest.approx(100 * (y + height / 2), abs=1e-3),
    )


def test_cut_and_peak_are_inverse_to_each_other() -> None:
    """A dot in the picture, cut out at the model's size, found as a peak, is the dot again."""
    image, dot = dotted((400, 300), (170, 120)), np.array([170, 120])
    area = padded((120, 60, 240, 230), (48, 64))
    assert area[2] / area[3] == pytest.approx(48 / 64)
    pixels = torch.from_numpy(np.array(cut(image, area, (48, 64)).convert("L"), np.float32))
    points, heights = peaks(pixels[None, None] / 255, [area])
    assert heights.item() == pytest.approx(1) and np.abs(points[0, 0] - dot).max() < 4


def test_cut_at_the_size_of_the_picture_changes_nothing() -> None:
    image = noise((48, 64))
    assert np.array_equal(np.asarray(cut(image, (0, 0, 47, 63), (48, 64))), np.asarray(image))


def test_folders_of_another_model_are_refused(vitpose: dict[str, Path], tmp_path: Path) -> None:
    for files in ({**vitpose, "pose": vitpose["detector"]}, {**vitpose, "detector": tmp_path}):
        with pytest.raises(AtelierError):
            vitpose_backend.load(files, CPU, "1")
