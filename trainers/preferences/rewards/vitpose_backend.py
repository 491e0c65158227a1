"""Key points by ViTPose with transformers, after RT-DETR, which finds people of photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import RTDetrForObjectDetection, VitPoseForPoseEstimation

from trainers.preferences.rewards.anatomy import Anatomy
from trainers.preferences.rewards.anatomy_parts import Calibration, Found
from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.loading import DTYPES, open_folder, prepare, ready
from trainers.preferences.rewards.pixels import normalised, to_tensor

VITPOSE = Calibration(body=0.4, hands=0.35, feet=0.35, face=0.4, width=0.08)  # heights of heat maps, up to about 1
DETECTOR_SIDE, DETECTED, PADDING = 640, 0.5, 1.25
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COCO = 0  # the data set, of those that ViTPose+ was trained on, whose points are wanted


def load(files: Files, runtime: Runtime, version: str) -> Anatomy:
    """See `base.Load`."""
    prepare(runtime)
    detector = open_folder(RTDetrForObjectDetection, files["detector"], runtime)
    pose = open_folder(VitPoseForPoseEstimation, files["pose"], runtime)
    return Anatomy("anatomy-vitpose", VitPose(detector, pose, runtime), VITPOSE, version)


class VitPose:
    def __init__(self, detector: Any, pose: Any, runtime: Runtime) -> None:
        self._detector, self._pose = ready(detector, runtime), ready(pose, runtime)
        self._device, self._dtype = torch.device(runtime.device), DTYPES[runtime.precision]
        names = {name.lower(): int(place) for place, name in detector.config.id2label.items()}
        self._person = names.get("person", 0)
        height, width = pose.config.backbone_config.image_size
        self._size = (width, height)
        self._is_mixture = getattr(pose.config.backbone_config, "num_experts", 1) > 1

    @torch.inference_mode()
    def __call__(self, image: Image.Image) -> Found:
        boxes = self.boxes(image)
        if not boxes:
            points = self._pose.config.num_labels
            return np.zeros((0, points, 2)), np.zeros((0, points))
        areas = [padded(box, self._size) for box in boxes]
        crops = torch.stack([normalised(to_tensor(cut(image, area, self._size)), MEAN, STD) for area in areas])
        more = {"dataset_index": torch.full((len(boxes),), COCO, device=self._device)} if self._is_mixture else {}
        heat = self._pose(crops.to(self._device, self._dtype), **more).heatmaps.float().cpu()
        return peaks(heat, areas)

    def boxes(self, image: Image.Image) -> list[tuple[float, float, float, float]]:
        """Left, top, right and bottom of each person, in pixels."""
        small = image.resize((DETECTOR_SIDE, DETECTOR_SIDE), Image.Resampling.BILINEAR)
        found = self._detector(to_tensor(small)[None].to(self._device, self._dtype))
        sure, kinds = found.logits[0].float().sigmoid().max(dim=-1)
        chosen = found.pred_boxes[0].float()[(sure >= DETECTED) & (kinds == self._person)]
        x, y, width, height = (chosen * torch.tensor([*image.size, *image.size], device=chosen.device)).unbind(-1)
        corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=-1)
        return [(left, top, right, bottom) for left, top, right, bottom in corners.tolist()]


Area = tuple[float, float, float, float]  # left, top, width, height, in pixels of the picture


def padded(box: tuple[float, float, float, float], size: tuple[int, int]) -> Area:
    """The box with a margin, in the shape of what the model takes."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    ratio = size[0] / size[1]
    width, height = max(width, height * ratio) * PADDING, max(height, width / ratio) * PADDING
    return ((left + right - width) / 2, (top + bottom - height) / 2, width, height)


def cut(image: Image.Image, area: Area, size: tuple[int, int]) -> Image.Image:
    """The area at the model's size; first and last pixel lie on its edges, as ViTPose was trained; outside is black."""
    left, top, width, height = area
    across, down = width / (size[0] - 1), height / (size[1] - 1)
    # Pillow counts from the corners of pixels, not from their middles
    matrix = (across, 0, left + 0.5 - across / 2, 0, down, top + 0.5 - down / 2)
    return image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def peaks(heat: Tensor, areas: list[Area]) -> Found:
    """heat [n, K, h, w]. Where each map is highest, in pixels of the picture, and how high."""
    heights, places = heat.flatten(2).max(dim=-1)
    rows, columns = places // heat.shape[-1], places % heat.shape[-1]
    corner, extent = torch.tensor([area[:2] for area in areas]), torch.tensor([area[2:] for area in areas])
    share = torch.stack([columns / (heat.shape[-1] - 1), rows / (heat.shape[-2] - 1)], dim=-1)
    return (corner[:, None] + share * extent[:, None]).numpy(), heights.numpy()
